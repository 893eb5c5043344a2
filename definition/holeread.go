package definition

import (
	"wasmxds/definition/internal/document"
)

// What follows reads documents that have errors. Whatever can't be read for
// sure counts as the most careful choice: a filter that refuses requests, in
// every listener.

// objectName is that of a Kubernetes object, with its namespace.
func objectName(root *document.Node) string {
	meta := root.Get("metadata")
	return Metadata{Name: document.TextOf(meta.Get("name")), Namespace: document.TextOf(meta.Get("namespace"))}.Qualified()
}

// Try reads something without reporting what is wrong, and says whether
// anything was. What is read with the document that read gets adds nothing to
// the file.
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
