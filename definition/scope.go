package definition

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// NamespaceLabel is the label that an Envoy's namespace is known by, which is
// NAMESPACE in its node metadata.
const NamespaceLabel = Group + "/namespace"

// Scope is what an object of a Kubernetes cluster has authority over. What is
// read with one gets names of its own namespace and, unless it may be
// Everywhere, belongs to the Envoys of that namespace alone, whatever it says.
// The zero value is that of a file: it may do everything.
type Scope struct {
	Namespace  string // that the object is in
	Everywhere bool   // it is the root namespace, whose objects may be for all Envoys
}

func (s Scope) limited() bool { return s.Namespace != "" && !s.Everywhere }

// name puts the namespace to a name that lacks it.
func (s Scope) name(name string) string {
	if s.Namespace == "" || strings.HasPrefix(name, s.Namespace+".") {
		return name
	}
	return s.Namespace + "." + name
}

// listener is the name of a listener that a filter names: web is that of its own
// namespace, shop/web that of another.
func (s Scope) listener(name string) string {
	if s.Namespace == "" {
		return name
	}
	if namespace, of, ok := strings.Cut(name, "/"); ok {
		return namespace + "." + of
	}
	return s.Namespace + "." + name
}

// nodes leaves those of the namespace.
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

// definitions leaves the names of the namespace.
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

// hole leaves of a hole what its document could have had.
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

// attach leaves the listeners and nodes that a filter of a kind may be for.
// Listeners that Envoy itself names, as those in an EnvoyFilter, stay so.
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

// withNodes is a native Listener that is for certain nodes: what it becomes,
// written as a file has it.
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
