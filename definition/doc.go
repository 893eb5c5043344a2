package definition

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// Kind is a kind of document that is read in addition to the native ones.
// Packages provide their kinds as values, and package kinds lists all of them.
type Kind struct {
	Name  string // as written in documents
	Group string // Kubernetes API group that is only for Wasm; "": none
	New   func() Reader
}

// Reader reads the documents of one kind in one file.
type Reader interface {
	// Read adds what a document defines to the file, or reports what is wrong.
	Read(*Doc)
	// End is called after the last document if the file has any document of the
	// kind. It adds or reports what only all of them together show.
	End()
	// Hole reads OnFailure and Attach of a document with errors, as far as they
	// can be read. The hole that it receives is that of a closed filter that
	// may belong in any listener, with the document's kind and the object's
	// name.
	Hole(*Doc, *Hole)
	// Unrelated reports whether a document with errors has nothing to do with
	// Wasm, and can be ignored.
	Unrelated(*Doc) bool
}

// Doc is one document while it is read: its contents, and what a [Reader] may
// do with it. Paths are those of fields, such as spec.match[0].ports. Problems
// are reported with the line of their path.
//
// Decode, Message and Wasm read. FilterName, ModuleURL, SHA256, Image, Labels,
// Ports, Variable and Validate perform the checks that all kinds share.
// AddFilter and AddResource add to the file.
type Doc struct {
	*parser
	root   *document.Node
	object *document.Node // the Kubernetes object that root is made from; nil: root is the document itself
	within string         // path of root within the document, if it is only a part
	item   bool           // the document is an item of a List
	first  int            // index of the first of the parser's problems that is about this document
}

func (p *parser) doc(root *document.Node, item bool) *Doc {
	return &Doc{parser: p, root: root, item: item, first: len(p.problems)}
}

// Root returns the document as it is written.
func (d *Doc) Root() *document.Node { return d.root }

// Pos returns the position of the document.
func (d *Doc) Pos() Position {
	return Position{File: d.file.Name, Line: d.root.Line, Generation: d.generation, By: d.by}
}

// PosOf returns the position of the field at a path.
func (d *Doc) PosOf(path string) Position {
	return Position{File: d.file.Name, Line: d.root.LineOf(path), Generation: d.generation, By: d.by}
}

// InCluster reports whether the document is an object that was read from a
// Kubernetes cluster, where the Envoys of a Gateway have its name as a label.
func (d *Doc) InCluster() bool { return d.scope.Namespace != "" }

// Failed reports whether the document has had errors so far. Warnings do not
// count.
func (d *Doc) Failed() bool { return !onlyWarnings(d.problems[d.first:]) }

func onlyWarnings(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// Decode fills a struct from the document and reports whether there were no
// errors. The struct's tags define which fields are required, which values are
// allowed, and what is rejected.
func (d *Doc) Decode(into any) bool {
	found := d.root.Decode(into, "")
	d.report(found)
	return len(found) == 0
}

// Problem reports an error in the field at a path, and returns it.
func (d *Doc) Problem(path, hint, format string, args ...any) Problem {
	p := Problem{File: d.file.Name, Line: d.root.LineOf(path), Field: joinPath(d.within, path), Hint: hint, Message: fmt.Sprintf(format, args...)}
	d.problems = append(d.problems, p)
	return p
}

// Warn reports a problem that does not keep the definition from being used.
func (d *Doc) Warn(path, hint, format string, args ...any) {
	d.Problem(path, hint, format, args...)
	d.problems[len(d.problems)-1].Warning = true
}

// Miss records a hole for what several documents of a file define together. The
// whole file is left out unless all of these documents are items of a List.
func Miss(h *Hole, of ...*Doc) {
	of[0].miss(h, !slices.ContainsFunc(of, func(d *Doc) bool { return !d.item }))
}

// AddFilter adds a filter. At maps the fields of a WasmFilter to their paths in
// this document, for problems that are found later. If at is nil, the paths are
// those of a WasmFilter.
func (d *Doc) AddFilter(f *Filter, at map[string]string) {
	if named := d.scope.name(f.Name); named != f.Name {
		f.Name = named
		d.FilterName(at["name"], named)
	}
	f.Attach = d.scope.attach(f.Kind, f.Attach)
	if secret := f.Module.PullSecret; secret != "" && d.scope.limited() {
		if strings.ContainsAny(secret, `/\`) || secret == ".." {
			d.Problem("", "", "pull secret %q is not the name of one", secret)
		}
		f.Module.PullSecret = d.scope.Namespace + "/" + secret
	}
	d.file.Filters = append(d.file.Filters, f)
	d.file.origins[f] = origin{root: d.root, object: d.object, within: d.within, item: d.item, at: at}
}

func (d *Doc) addListener(l *Listener) {
	l.Nodes = d.scope.nodes(l.Nodes)
	d.file.Listeners = append(d.file.Listeners, l)
	d.file.origins[l] = origin{root: withNodes(d.root, d.scope), object: d.object, item: d.item}
}

func (d *Doc) addRollout(r *Rollout) {
	r.Definitions = d.scope.definitions(r.Definitions)
	d.file.Rollouts = append(d.file.Rollouts, r)
	d.file.origins[r] = origin{root: d.root, object: d.object, item: d.item}
}

// addResource adds a resource; see origin for at.
func (d *Doc) addResource(r *Resource, at map[string]string) {
	if d.scope.limited() {
		d.Problem(at["name"], "have it added in the root namespace", "goes to the Envoys of all namespaces")
		return
	}
	d.file.Resources = append(d.file.Resources, r)
	d.file.origins[r] = origin{root: d.root, within: d.within, item: d.item, at: at}
}
