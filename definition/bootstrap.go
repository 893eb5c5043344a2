package definition

import "strings"

const bootstrapType = typePrefix + "envoy.config.bootstrap.v3.Bootstrap"

// foreign reports a file of Envoy's own that is no resource: a bootstrap, or
// what Envoy reads resources from. It says whether it was one. The hint says
// what to do with the listeners and clusters in it.
func (d *Doc) foreign(hint string) bool {
	if at := d.root.Get("@type"); at != nil && strings.TrimPrefix(at.Text, typePrefix) == strings.TrimPrefix(bootstrapType, typePrefix) {
		d.Problem("@type", hint, "is an Envoy's bootstrap, not a resource")
		return true
	}
	if d.root.Get("@type") != nil || d.root.Get("kind") != nil {
		return false
	}
	for _, f := range []struct{ field, what string }{
		{"static_resources", "is of an Envoy's bootstrap"},
		{"dynamic_resources", "is of an Envoy's bootstrap"},
		{"layered_runtime", "is of an Envoy's bootstrap"},
		{"admin", "is of an Envoy's bootstrap"},
		{"listeners", "is a list of Envoy's listeners"},
		{"clusters", "is a list of Envoy's clusters"},
		{"resources", "is a list of resources that Envoy reads from a file"},
	} {
		if field := d.root.Locate([]string{f.field}); d.root.Child(field) != nil {
			d.Problem(field, hint, "%s, not a definition", f.what)
			return true
		}
	}
	return false
}

const (
	// asDefinitions is the hint for what is in the definitions directory.
	asDefinitions = `write each listener and cluster in it as a document of its own, with "@type": ` + listenerType + ` or ` + clusterType +
		" before its fields; xds-server bootstrap makes the Envoys' bootstrap"
	// asStatic is the hint for what is to go into a bootstrap.
	asStatic = `give its listeners alone, as a list; a cluster among them needs "@type": ` + clusterType + " before its fields"
)
