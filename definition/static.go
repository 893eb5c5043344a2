package definition

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition/internal/document"
)

// ParseStatic reads additional content for an Envoy's bootstrap: listeners in
// Envoy's own form and the clusters they need. A document is one of these
// resources, a list of them, or a bootstrap that contains them. A resource
// without @type is a listener. All problems are returned in one pass, and then
// no resources.
func ParseStatic(name string, data []byte) ([]*Resource, []Problem) {
	roots, found := reader(name)(data)
	p := newParser(name, nil)
	p.report(found)
	var resources []*Resource
	lines := map[[2]string]int{}
	for _, root := range roots {
		items := root.Items
		if root.Kind != document.List {
			items = []*document.Node{root}
		}
		for _, item := range items {
			whole := p.doc(item, false)
			parts, ok := whole.staticResources()
			if !ok {
				parts = []*Doc{whole}
			}
			for _, d := range parts {
				r := d.inBootstrap()
				if r == nil {
					continue
				}
				key := [2]string{r.TypeURL, r.Name}
				if line, taken := lines[key]; taken {
					d.Problem("name", "", "%q is already defined on line %d", r.Name, line)
				}
				lines[key] = d.root.Line
				resources = append(resources, r)
			}
		}
	}
	if onlyWarnings(p.problems) && len(resources) == 0 {
		p.problems = append(p.problems, Problem{File: name, Message: "has no listener", Hint: "write Envoy listeners, as documents or as a list"})
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if !onlyWarnings(p.problems) {
		return nil, p.problems
	}
	return resources, p.problems
}

// inBootstrap reads one resource for a bootstrap. It returns nil on an error.
func (d *Doc) inBootstrap() *Resource {
	if d.root.Kind != document.Object {
		d.Problem("", "", "%s, needs a listener or a cluster in Envoy's own form", d.root.Kind)
		return nil
	}
	var m proto.Message = &listenerv3.Listener{}
	if url := d.root.Get("@type"); url != nil {
		switch strings.TrimPrefix(url.Text, typePrefix) {
		case strings.TrimPrefix(listenerType, typePrefix):
		case strings.TrimPrefix(clusterType, typePrefix):
			m = &clusterv3.Cluster{}
		default:
			d.Problem("@type", document.Suggest(url.Text, []string{listenerType, clusterType}),
				"%q does not go into a bootstrap, only listeners and clusters do", url.Text)
			return nil
		}
	} else if kind := d.root.Get("kind"); kind != nil {
		d.Problem("kind", "the kinds of xds-server go into the definitions directory, for Envoys without static listeners",
			"%q does not go into a bootstrap, only Envoy's own listeners and clusters do", kind.Text)
		return nil
	}
	body := d.root.Without("@type")
	if !d.Message("", body, m) || !d.rawName(m) || !d.Validate("", body, m) {
		return nil
	}
	d.unlooked(m, staticHint)
	_, name := nameOf(m)
	return &Resource{TypeURL: typePrefix + string(m.ProtoReflect().Descriptor().FullName()), Name: name, Pos: d.Pos(), Message: m}
}
