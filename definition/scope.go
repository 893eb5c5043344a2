package definition

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// NamespaceLabel is the label for an Envoy's namespace, which is NAMESPACE in
// its node metadata.
const NamespaceLabel = Group + "/namespace"

// Scope is what an object of a Kubernetes cluster has authority over. Its
// definitions get names in its own namespace. Unless Everywhere is set, they
// apply only to the Envoys of that namespace, whatever they select. The zero
// value is the scope of a file, which is unlimited.
type Scope struct {
	Namespace  string // of the object
	Everywhere bool   // set for the root namespace, whose objects may apply to all Envoys
}

func (s Scope) limited() bool { return s.Namespace != "" && !s.Everywhere }

// name adds the namespace to a name that lacks it.
func (s Scope) name(name string) string {
	if s.Namespace == "" || strings.HasPrefix(name, s.Namespace+".") {
		return name
	}
	return s.Namespace + "." + name
}

// listener returns the name of a listener that a filter refers to: web is in
// the filter's own namespace, shop/web in another.
func (s Scope) listener(name string) string {
	if s.Namespace == "" {
		return name
	}
	if namespace, of, ok := strings.Cut(name, "/"); ok {
		return namespace + "." + of
	}
	return s.Namespace + "." + name
}

// nodes restricts a selector to the namespace.
func (s Scope) nodes(of Selector) Selector {
	if !s.limited() {
		return of
	}
	of.Labels = maps.Clone(of.Labels)
	if of.Labels == nil {
		of.Labels = map[string]string{}
	}
	of.Labels[NamespaceLabel] = s.Namespace
	return of
}

// definitions restricts globs to names of the namespace.
func (s Scope) definitions(globs []string) []string {
	if !s.limited() {
		return globs
	}
	own := make([]string, 0, len(globs))
	for _, glob := range globs {
		own = append(own, s.Namespace+"."+glob)
	}
	return own
}

// hole restricts a hole to what its document could have applied to.
func (s Scope) hole(h *Hole) {
	if s.Namespace == "" {
		return
	}
	h.Attach = s.attach(h.Kind, h.Attach)
	if !s.limited() {
		return
	}
	if h.Definitions == nil {
		h.Definitions = []string{"*"}
	}
	h.Definitions = s.definitions(h.Definitions)
}

// attach restricts the listeners and nodes of a filter to those that its kind
// may apply to. Listener names of Envoy, as in an EnvoyFilter, stay unchanged.
func (s Scope) attach(kind string, a Attach) Attach {
	a.Nodes = s.nodes(a.Nodes)
	if kind == "EnvoyFilter" || s.Namespace == "" {
		return a
	}
	a.Listeners = slices.Clone(a.Listeners)
	for i, m := range a.Listeners {
		a.Listeners[i].Names = slices.Clone(m.Names)
		for j, name := range m.Names {
			a.Listeners[i].Names[j] = s.listener(name)
		}
	}
	return a
}

// withNodes returns the document of a native Listener with its nodes restricted
// to the scope.
func withNodes(root *document.Node, s Scope) *document.Node {
	if !s.limited() {
		return root
	}
	set := func(of *document.Node, key string, value *document.Node) *document.Node {
		with := document.Node{Kind: document.Object}
		if of != nil {
			with = *of.Without(key)
		}
		with.Fields = append(with.Fields, document.Field{Key: key, Line: with.Line, Value: value})
		return &with
	}
	nodes := root.Get("nodes")
	labels := set(nodes.Get("labels"), NamespaceLabel, &document.Node{Kind: document.Text, Text: s.Namespace})
	return set(root, "nodes", set(nodes, "labels", labels))
}
