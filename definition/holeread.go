package definition

import (
	"strings"

	"wasmxds/definition/internal/document"
)

// What follows reads documents that have errors. Whatever can't be read for
// sure counts as the most careful choice: a filter that refuses requests, in
// every listener.

// plain is a text, "" for all else.
func plain(n *document.Node) string {
	if n == nil || n.Kind != document.Text {
		return ""
	}
	return n.Text
}

// objectName is that of a Kubernetes object, with its namespace.
func objectName(root *document.Node) string {
	meta := root.Get("metadata")
	return metadata{Name: plain(meta.Get("name")), Namespace: plain(meta.Get("namespace"))}.qualified()
}

// only is an object with some fields of another.
func only(n *document.Node, keys ...string) *document.Node {
	less := &document.Node{Kind: document.Object}
	for _, key := range keys {
		if value := n.Get(key); value != nil {
			less.Fields = append(less.Fields, document.Field{Key: key, Line: value.Line, Value: value})
		}
	}
	return less
}

// exact decodes and says whether nothing was wrong.
func exact(n *document.Node, into any) bool { return len(n.Decode(into, "")) == 0 }

// aside is the document without a way to report.
func (d *doc) aside() *doc {
	return &doc{parser: &parser{file: &File{Name: d.file.Name}}, root: d.root}
}

// attachAsRead reads the attach of a WasmFilter.
func (d *doc) attachAsRead(n *document.Node) Attach {
	if n == nil {
		return everywhere()
	}
	var a attach
	trial := d.aside()
	found := n.Decode(&a, "attach")
	made := trial.attach(&a)
	if len(found) == 0 && len(trial.problems) == 0 {
		return made
	}
	made = everywhere()
	var selected nodes
	trial = d.aside()
	if of := n.Get("nodes"); of != nil && exact(of, &selected) {
		if s := trial.nodes("attach.nodes", selected); len(trial.problems) == 0 {
			made.Nodes = s
		}
	}
	return made
}

// pluginAsRead reads where a WasmPlugin belongs.
func (d *doc) pluginAsRead(spec *document.Node) Attach {
	made := everywhere()
	var where struct {
		Selector labelSelector `json:"selector"`
	}
	if exact(only(spec, "selector"), &where) {
		made.Nodes.Labels = where.Selector.MatchLabels
	}
	var to struct {
		Match []wasmPluginMatch `json:"match"`
	}
	trial := d.aside()
	if exact(only(spec, "match"), &to) {
		if listeners := trial.pluginMatch(to.Match); len(trial.problems) == 0 {
			made.Listeners = listeners
		}
	}
	return made
}

// envoyFilterAsRead reads where an EnvoyFilter places filters.
func envoyFilterAsRead(spec *document.Node) Attach {
	var made Attach
	var where struct {
		WorkloadSelector struct {
			Labels map[string]string `json:"labels"`
		} `json:"workloadSelector"`
	}
	if exact(only(spec, "workloadSelector"), &where) {
		made.Nodes.Labels = where.WorkloadSelector.Labels
	}
	patches := spec.Get("configPatches")
	if patches == nil || patches.Kind != document.List {
		made.Listeners = everywhere().Listeners
		return made
	}
	for _, patch := range patches.Items {
		switch plain(patch.Get("applyTo")) {
		case "CLUSTER", "EXTENSION_CONFIG":
			continue // says nothing of listeners
		}
		m := ListenerMatch{Direction: Any}
		var to struct {
			Match configMatch `json:"match"`
		}
		if exact(only(patch, "match"), &to) {
			m.Direction = contextDirection(to.Match.Context)
			if l := to.Match.Listener; l != nil && l.Name != "" {
				m.Names = []string{l.Name}
			}
			if l := to.Match.Listener; l != nil && l.PortNumber != 0 {
				m.Ports = []uint32{l.PortNumber}
			}
		}
		made.Listeners = append(made.Listeners, m)
	}
	if len(made.Listeners) == 0 {
		made.Listeners = everywhere().Listeners
	}
	return made
}

// policyAsRead reads which listeners an EnvoyExtensionPolicy names.
func policyAsRead(spec *document.Node) Attach {
	var to struct {
		TargetRef  *policyTarget  `json:"targetRef"`
		TargetRefs []policyTarget `json:"targetRefs"`
	}
	if !exact(only(spec, "targetRef", "targetRefs"), &to) || spec.Get("targetSelectors") != nil {
		return everywhere()
	}
	targets := to.TargetRefs
	if to.TargetRef != nil {
		targets = append(targets, *to.TargetRef)
	}
	var made Attach
	for _, t := range targets {
		switch {
		case t.Kind != "Gateway":
			return everywhere()
		case t.SectionName == "":
			made.Listeners = append(made.Listeners, ListenerMatch{Direction: Gateway})
		default:
			made.Listeners = append(made.Listeners, ListenerMatch{Direction: Any, Names: []string{t.SectionName}})
		}
	}
	if len(made.Listeners) == 0 {
		return everywhere()
	}
	return made
}

// policyOpen says whether each filter of an EnvoyExtensionPolicy is open.
func policyOpen(wasm *document.Node) bool {
	if wasm == nil || wasm.Kind != document.List || len(wasm.Items) == 0 {
		return false
	}
	for _, item := range wasm.Items {
		open := item.Get("failOpen")
		if open == nil || open.Kind != document.Bool || open.Text != "true" {
			return false
		}
	}
	return true
}

// allOpen says whether there are Wasm filters in Envoy's form, all of them
// open.
func allOpen(n *document.Node) bool {
	open, closed := 0, 0
	walk(n, func(n *document.Node) {
		var vm, failOpen bool
		for _, f := range n.Fields {
			switch folded(f.Key) {
			case "vmconfig":
				vm = true
			case "failopen":
				failOpen = failOpen || f.Value.Kind == document.Bool && f.Value.Text == "true"
			case "failurepolicy":
				failOpen = failOpen || strings.EqualFold(plain(f.Value), "FAIL_OPEN")
			}
		}
		switch {
		case vm && failOpen:
			open++
		case vm:
			closed++
		}
	})
	return open > 0 && closed == 0
}

// walk visits a value and all within it.
func walk(n *document.Node, visit func(*document.Node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, item := range n.Items {
		walk(item, visit)
	}
	for _, f := range n.Fields {
		walk(f.Value, visit)
	}
}

// folded is a word in lower case, without underscores.
func folded(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }
