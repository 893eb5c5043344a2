package definition

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// MaxSize is the most bytes a file may have. A caller need not read further.
const MaxSize = document.MaxSize

// File is what one file defines. Immutable.
type File struct {
	Name      string
	Filters   []*Filter // in the order of the file, as all below
	Listeners []*Listener
	Resources []*Resource

	origins map[any]origin // of each definition
}

// origin is what a definition was made of, so that Merge can say in which
// line a field is.
type origin struct {
	root *document.Node
	item bool // of a List
	// at says where the fields of WasmFilter are in a document of another
	// kind. Nil: where they are in a WasmFilter.
	at map[string]string
}

// path gives a field of WasmFilter as it is called in the document.
func (o origin) path(field string) string {
	if o.at == nil {
		return field
	}
	for field != "" {
		if path, ok := o.at[field]; ok {
			return path
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return ""
}

// Document is a definition's document as JSON, the same for the same content;
// nil where the definition is not of this file.
func (f *File) Document(definition any) []byte {
	from := f.origins[definition]
	if from.root == nil {
		return nil
	}
	return from.root.JSON()
}

// Parsed is what became of a file.
type Parsed struct {
	// File has what can be used; nil: nothing can. What is wrong within a
	// Kubernetes List takes no other item of it away; any other mistake takes
	// the whole file.
	File     *File
	Holes    []*Hole // what is missing of it
	Problems []Problem
}

// Parse reads a file as [Read] does, without its holes.
func Parse(name string, data []byte) (*File, []Problem) {
	r := Read(name, data)
	return r.File, r.Problems
}

// Read reads a file: YAML, or JSON where the name ends in .json, with any
// number of documents. All problems come back in one pass.
//
// Name is the path under which the file was found. It is told in problems and
// positions, and modules with a relative URL are looked for from its folder:
// give an absolute path where the working directory may change.
func Read(name string, data []byte) Parsed {
	roots, found := reader(name)(data)
	p := &parser{file: &File{Name: name, origins: map[any]origin{}}, broken: len(found) > 0}
	p.report(found)
	for _, root := range roots {
		if len(p.problems) > document.MaxProblems {
			break
		}
		p.document(root, false)
	}
	p.pair()
	if len(found) == 0 {
		p.duplicates()
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if len(p.problems) > document.MaxProblems {
		p.problems = append(p.problems[:document.MaxProblems], Problem{File: name, Message: "and more problems"})
		p.broken = true
		p.holes = append(p.holes, Unread(p.problems[document.MaxProblems]))
	}
	if !p.broken {
		return Parsed{p.file, p.holes, p.problems}
	}
	cause := p.problems[slices.IndexFunc(p.problems, func(p Problem) bool { return !p.Warning })]
	switch {
	case len(found) == 0:
		p.holes = append(p.holes, p.file.Holes(cause)...)
	default:
		p.holes = salvage(name, data, cause)
	}
	return Parsed{nil, p.holes, p.problems}
}

// reader reads the documents of a file of this name.
func reader(name string) func([]byte) ([]*document.Node, []document.Problem) {
	if isJSON(name) {
		return document.JSON
	}
	return document.YAML
}

func isJSON(name string) bool { return strings.EqualFold(filepath.Ext(name), ".json") }

// parser collects what a file defines and what is wrong with it.
type parser struct {
	file     *File
	problems []Problem
	patches  patches // of EnvoyFilters, to be put together at the end
	gateway  string  // that an EnvoyExtensionPolicy targets as a whole
	holes    []*Hole // documents that have errors
	broken   bool    // the file can't be used
}

func (p *parser) report(found []document.Problem) {
	for _, f := range found {
		p.problems = append(p.problems, Problem{File: p.file.Name, Line: f.Line, Field: f.Field, Message: f.Message, Hint: f.Hint})
	}
}

// kinds are the documents that name their kind. Each reader adds to the file
// what it makes of the document.
func kinds() map[string]func(*doc) {
	return map[string]func(*doc){
		"WasmFilter":           readWasmFilter,
		"Listener":             readListener,
		"WasmPlugin":           readWasmPlugin,
		"EnvoyFilter":          readEnvoyFilter,
		"EnvoyExtensionPolicy": readExtensionPolicy,
		"List":                 readList,
	}
}

// document reads a document, or an item of a List. One that has errors leaves a
// hole, and outside a List takes the whole file with it.
func (p *parser) document(root *document.Node, item bool) {
	d := &doc{parser: p, root: root, item: item}
	if root.Kind == document.Object && root.Get("@type") == nil && plain(root.Get("kind")) == "List" {
		readList(d)
		return
	}
	problems, extensions, slots := len(p.problems), len(p.patches.extensions), len(p.patches.slots)
	d.read()
	i := slices.IndexFunc(p.problems[problems:], func(p Problem) bool { return !p.Warning })
	if i < 0 {
		return
	}
	cause := p.problems[problems+i]
	p.patches.extensions, p.patches.slots = p.patches.extensions[:extensions], p.patches.slots[:slots]
	if d.unrelated() {
		p.problems = p.problems[:problems]
		d.passedOver(cause)
		return
	}
	p.miss(d.hole(cause), item)
}

// miss notes a hole.
func (p *parser) miss(h *Hole, item bool) {
	p.holes = append(p.holes, h)
	p.broken = p.broken || !item
}

func (d *doc) read() {
	if d.root.Kind != document.Object {
		d.problem("", "", "%s, needs a mapping with kind or @type", d.root.Kind)
		return
	}
	if d.foreign(asDefinitions) {
		return
	}
	if d.root.Get("@type") != nil {
		readRaw(d)
		return
	}
	kind := d.root.Get("kind")
	if kind == nil {
		d.problem("kind", "a document begins with kind: WasmFilter, kind: Listener, or the @type of an Envoy resource", "is missing")
		return
	}
	if read, ok := kinds()[kind.Text]; ok {
		read(d)
		return
	}
	names := make([]string, 0, len(kinds()))
	for name := range kinds() {
		names = append(names, name)
	}
	slices.Sort(names)
	d.problem("kind", document.Suggest(kind.Text, names), "%q is not known", kind.Text)
}

// duplicates reports names used twice in the file, and takes out those of them
// that are items of a List.
func (p *parser) duplicates() {
	names := newNames()
	f := p.file
	again := map[any]bool{}
	for _, d := range f.definitions() {
		other, taken := names.take(d)
		if !taken {
			continue
		}
		problem := f.duplicate(d, other)
		p.problems = append(p.problems, problem)
		from := f.origins[d.definition]
		p.miss((&doc{parser: p, root: from.root}).hole(problem), from.item)
		again[d.definition] = true
	}
	if len(again) == 0 {
		return
	}
	f.Filters = slices.DeleteFunc(f.Filters, func(d *Filter) bool { return again[d] })
	f.Listeners = slices.DeleteFunc(f.Listeners, func(d *Listener) bool { return again[d] })
	f.Resources = slices.DeleteFunc(f.Resources, func(d *Resource) bool { return again[d] })
}

// doc is one document while it is read.
type doc struct {
	*parser
	root *document.Node
	item bool // of a List
}

func (d *doc) pos() Position { return Position{File: d.file.Name, Line: d.root.Line} }

// decode fills a struct from the document and says whether nothing was wrong.
func (d *doc) decode(into any) bool {
	found := d.root.Decode(into, "")
	d.report(found)
	return len(found) == 0
}

// problem reports something wrong with the field at a path.
func (d *doc) problem(path, hint, format string, args ...any) {
	d.problems = append(d.problems, Problem{
		File: d.file.Name, Line: d.root.LineOf(path), Field: path, Hint: hint, Message: fmt.Sprintf(format, args...),
	})
}

// warn reports something that is used all the same.
func (d *doc) warn(path, hint, format string, args ...any) {
	d.problem(path, hint, format, args...)
	d.problems[len(d.problems)-1].Warning = true
}

// addFilter adds a filter; at is as in origin.
func (d *doc) addFilter(f *Filter, at map[string]string) {
	d.file.Filters = append(d.file.Filters, f)
	d.file.origins[f] = origin{root: d.root, item: d.item, at: at}
}

func (d *doc) addListener(l *Listener) {
	d.file.Listeners = append(d.file.Listeners, l)
	d.file.origins[l] = origin{root: d.root, item: d.item}
}

// addResource adds a resource; at is as in origin.
func (d *doc) addResource(r *Resource, at map[string]string) {
	d.file.Resources = append(d.file.Resources, r)
	d.file.origins[r] = origin{root: d.root, item: d.item, at: at}
}
