package definition

import (
	"wasmxds/definition/internal/document"
)

// The functions below read documents that have errors. What can't be read with
// certainty is assumed to be the strictest: a filter that fails closed, in
// every listener.

// objectName returns the name of a Kubernetes object, with its namespace.
func objectName(root *document.Node) string {
	meta := root.Get("metadata")
	return Metadata{Name: document.TextOf(meta.Get("name")), Namespace: document.TextOf(meta.Get("namespace"))}.Qualified()
}

// Try calls read and reports whether it found no problems. The problems are not
// reported, and what read adds to its Doc is not added to the file.
func (d *Doc) Try(read func(*Doc)) bool {
	trial := newParser(d.file.Name, d.kinds).doc(d.root, d.item)
	read(trial)
	return len(trial.problems) == 0
}

// attachAsRead reads the attach of a WasmFilter.
func (d *Doc) attachAsRead(n *document.Node) Attach {
	if n == nil {
		return Everywhere()
	}
	var a attach
	var made Attach
	whole := len(n.Decode(&a, "attach")) == 0
	if d.Try(func(d *Doc) { made = d.attach(&a) }) && whole {
		return made
	}
	made = Everywhere()
	var written nodes
	if of := n.Get("nodes"); of != nil && of.Exact(&written) {
		var selected Selector
		if d.Try(func(d *Doc) { selected = d.nodes("attach.nodes", written) }) {
			made.Nodes = selected
		}
	}
	return made
}
