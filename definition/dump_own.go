package definition

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoregistry"

	"wasmxds/definition/internal/document"
)

const (
	ofServer = "xds-server makes it"
	// redactedText is what Envoy prints in place of secrets, and redactedBytes
	// in place of secrets that are bytes, in base64.
	redactedText, redactedBytes = "[redacted]", "W3JlZGFjdGVkXQ=="
)

// redacted reports secrets that Envoy has not printed, and returns whether
// there are any.
func (d *Doc) redacted() bool {
	before := len(d.problems)
	d.lookForRedacted(d.root, "")
	return len(d.problems) > before
}

func (d *Doc) lookForRedacted(n *document.Node, path string) {
	if n.Kind == document.Text && (n.Text == redactedText || n.Text == redactedBytes) {
		d.Problem(path, "here, in the config_dump, write the file that has it as filename, and convert it again", "Envoy does not print what is secret")
	}
	for i, item := range n.Items {
		d.lookForRedacted(item, document.Index(path, i))
	}
	for _, f := range n.Fields {
		d.lookForRedacted(f.Value, document.Join(path, f.Key))
	}
}

// not returns why nobody has defined a resource, or "" if somebody has.
func (o *ofDump) not(n *document.Node, what, name string) string {
	own := func(prefixes ...string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) })
	}
	switch what {
	case "listener":
		if name == PrimerListener {
			return ofServer
		}
		routes := false
		n.Walk(func(n *document.Node) {
			routes = routes || strings.HasPrefix(document.TextOf(n.Get("route_config_name")), RoutesPrefix)
		})
		if routes {
			return ofServer
		}
	case "cluster", "endpoints":
		switch {
		case own(reservedClusters), o.made[name]:
			return ofServer
		case what == "cluster" && o.server[name]:
			return "it leads to the server that this Envoy had"
		}
	case "route configuration":
		if own(TwinPrefix, RoutesPrefix) {
			return ofServer
		}
	case "filter":
		if own(TwinPrefix, StandbyPrefix, SlotPrefix) || n.At("typed_config.config.vm_config.code.remote.http_uri") != nil &&
			strings.HasPrefix(document.TextOf(n.At("typed_config.config.vm_config.code.remote.http_uri.cluster")), reservedClusters) {
			return ofServer
		}
	case "secret":
		switch {
		case own(TLSPrefix):
			return ofServer
		case o.elsewhere[name]:
			return "Envoys have it from where its users say"
		}
	}
	return ""
}

// restored returns a resource as it was given to the Envoy, as far as the dump
// shows, without what xds-server has added.
func restored(n *document.Node) *document.Node {
	made := *n
	made.Items, made.Fields = nil, nil
	for _, item := range n.Items {
		if !isOwnPart(item) {
			made.Items = append(made.Items, restored(item))
		}
	}
	for _, f := range n.Fields {
		f.Value = restored(f.Value)
		made.Fields = append(made.Fields, f)
	}
	return asStruct(&made)
}

// withoutState returns endpoints without what Envoy adds when it prints them:
// current health, default values, and weights of 0, which it accepts from
// nobody.
func withoutState(n *document.Node) *document.Node {
	made := *n
	made.Items, made.Fields = nil, nil
	for _, item := range n.Items {
		made.Items = append(made.Items, withoutState(item))
	}
	for _, f := range n.Fields {
		added := false
		switch f.Key {
		case "health_status":
			added = document.TextOf(f.Value) != "DRAINING"
		case "load_balancing_weight":
			added = f.Value.Text == "0" || f.Value.Text == "1" && n.Get("endpoint") != nil
		case "locality", "health_check_config":
			added = len(f.Value.Fields) == 0
		case "policy":
			added = string(f.Value.JSON()) == `{"overprovisioning_factor":140}`
		}
		if !added {
			f.Value = withoutState(f.Value)
			made.Fields = append(made.Fields, f)
		}
	}
	return &made
}

// isOwnPart reports whether xds-server has added a list item: a slot or an
// access logger.
func isOwnPart(n *document.Node) bool {
	name := document.TextOf(n.Get("name"))
	return n.Get("config_discovery") != nil && strings.HasPrefix(name, SlotPrefix) ||
		strings.HasPrefix(name, reservedClusters) && strings.HasPrefix(typeName(n.Get("typed_config").Get("@type")), "envoy.extensions.access_loggers.")
}

// asStruct replaces a message of an unknown type, such as those of Istio's
// Envoy, with one that only has its type.
func asStruct(n *document.Node) *document.Node {
	url := n.Get("@type")
	if url == nil || url.Kind != document.Text {
		return n
	}
	if _, err := protoregistry.GlobalTypes.FindMessageByURL(url.Text); err == nil || !strings.Contains(url.Text, "/") {
		return n
	}
	made := document.Node{Kind: document.Object, Line: n.Line}
	for key, value := range map[string]*document.Node{"type_url": url, "value": n.Without("@type")} {
		made.Fields = append(made.Fields, document.Field{Key: key, Line: url.Line, Value: value})
	}
	slices.SortFunc(made.Fields, func(a, b document.Field) int { return strings.Compare(a.Key, b.Key) })
	typed := &document.Node{Kind: document.Text, Line: url.Line, Text: typePrefix + "xds.type.v3.TypedStruct"}
	made.Fields = append([]document.Field{{Key: "@type", Line: url.Line, Value: typed}}, made.Fields...)
	return &made
}
