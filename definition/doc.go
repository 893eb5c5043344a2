package definition

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// Kind is a kind of document that is read besides the native ones. Packages
// that have some give them as values, and package kinds has all.
type Kind struct {
	Name  string // as documents say it
	Group string // Kubernetes API group that is for Wasm as a whole; "": none
	New   func() Reader
}

// Reader reads the documents of one kind in one file.
type Reader interface {
	// Read adds to the file what a document defines, or reports what is wrong.
	Read(*Doc)
	// End is called after the last document, where one of the kind was met, and
	// adds or reports what only all of them together tell.
	End()
	// Hole reads OnFailure and Attach of a document with errors, as far as they
	// can be read. Before, the hole is that of a closed filter that may belong
	// in any listener, with the document's kind and its object's name.
	Hole(*Doc, *Hole)
	// Unrelated says whether a document with errors has nothing to do with Wasm,
	// so that it is passed over.
	Unrelated(*Doc) bool
}

// Doc is one document while it is read: what it says, and what a [Reader] may
// do with that. Paths are those of fields, as spec.match[0].ports; problems
// are told with the line of their path.
//
// Decode, Message and Wasm read; FilterName, ModuleURL, SHA256, Image, Labels,
// Ports, Variable and Validate check, as all kinds are checked; AddFilter and
// AddResource add to the file.
type Doc struct {
	*parser
	root   *document.Node
	object *document.Node // of Kubernetes, that root is made of; nil: root is what is written
	within string         // where root is in what is written, when it is a part of that
	item   bool           // of a List
	first  int            // of the parser's problems, that is about this document
}

func (p *parser) doc(root *document.Node, item bool) *Doc {
	return &Doc{parser: p, root: root, item: item, first: len(p.problems)}
}

// Root is what is written.
func (d *Doc) Root() *document.Node { return d.root }

// Pos is where the document is.
func (d *Doc) Pos() Position {
	return Position{File: d.file.Name, Line: d.root.Line, Generation: d.generation, By: d.by}
}

// PosOf is where the field at a path is.
func (d *Doc) PosOf(path string) Position {
	return Position{File: d.file.Name, Line: d.root.LineOf(path), Generation: d.generation, By: d.by}
}

// InCluster says whether the document is an object that was read from a
// Kubernetes cluster, where Envoys of a Gateway have its name as a label.
func (d *Doc) InCluster() bool { return d.scope.Namespace != "" }

// Failed says whether something is wrong with the document so far. Warnings
// are not.
func (d *Doc) Failed() bool { return !onlyWarnings(d.problems[d.first:]) }

func onlyWarnings(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// Decode fills a struct from the document and says whether nothing was wrong.
// Its tags say what is required, which values there are, and what is refused.
func (d *Doc) Decode(into any) bool {
	found := d.root.Decode(into, "")
	d.report(found)
	return len(found) == 0
}

// Problem reports something wrong with the field at a path, and gives what it
// reported.
func (d *Doc) Problem(path, hint, format string, args ...any) Problem {
	p := Problem{File: d.file.Name, Line: d.root.LineOf(path), Field: joinPath(d.within, path), Hint: hint, Message: fmt.Sprintf(format, args...)}
	d.problems = append(d.problems, p)
	return p
}

// Warn reports something that is used all the same.
func (d *Doc) Warn(path, hint, format string, args ...any) {
	d.Problem(path, hint, format, args...)
	d.problems[len(d.problems)-1].Warning = true
}

// Miss notes that what documents of a file define together is missing. The
// file is left out unless all of them are items of a List.
func Miss(h *Hole, of ...*Doc) {
	of[0].miss(h, !slices.ContainsFunc(of, func(d *Doc) bool { return !d.item }))
}

// AddFilter adds a filter. At says where the fields of a WasmFilter are in this
// document, for problems that are found later; nil: where they are in one.
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

// addResource adds a resource; at is as in origin.
func (d *Doc) addResource(r *Resource, at map[string]string) {
	if d.scope.limited() {
		d.Problem(at["name"], "have it added in the root namespace", "goes to the Envoys of all namespaces")
		return
	}
	d.file.Resources = append(d.file.Resources, r)
	d.file.origins[r] = origin{root: d.root, within: d.within, item: d.item, at: at}
}
