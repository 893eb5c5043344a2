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

// Parse reads a file: YAML, or JSON where the name ends in .json, with any
// number of documents. All problems come back in one pass; File is nil when
// one of them is more than a warning.
//
// Name is the path under which the file was found. It is told in problems and
// positions, and modules with a relative URL are looked for from its folder:
// give an absolute path where the working directory may change.
func Parse(name string, data []byte) (*File, []Problem) {
	read := document.YAML
	if strings.EqualFold(filepath.Ext(name), ".json") {
		read = document.JSON
	}
	roots, found := read(data)
	p := &parser{file: &File{Name: name, origins: map[any]origin{}}}
	p.report(found)
	for _, root := range roots {
		if len(p.problems) <= document.MaxProblems {
			p.document(root)
		}
	}
	p.pair()
	if len(found) == 0 {
		p.duplicates()
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if len(p.problems) > document.MaxProblems {
		p.problems = append(p.problems[:document.MaxProblems], Problem{File: name, Message: "and more problems"})
	}
	if slices.ContainsFunc(p.problems, func(p Problem) bool { return !p.Warning }) {
		return nil, p.problems
	}
	return p.file, p.problems
}

// parser collects what a file defines and what is wrong with it.
type parser struct {
	file     *File
	problems []Problem
	patches  patches // of EnvoyFilters, to be put together at the end
	gateway  string  // that an EnvoyExtensionPolicy targets as a whole
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

func (p *parser) document(root *document.Node) {
	d := &doc{parser: p, root: root}
	if root.Kind != document.Object {
		d.problem("", "", "%s, needs a mapping with kind or @type", root.Kind)
		return
	}
	if d.foreign(asDefinitions) {
		return
	}
	if root.Get("@type") != nil {
		readRaw(d)
		return
	}
	kind := root.Get("kind")
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

// duplicates reports names used twice in the file.
func (p *parser) duplicates() {
	names := newNames()
	f := p.file
	for _, d := range f.definitions() {
		if other, taken := names.take(d); taken {
			p.problems = append(p.problems, f.duplicate(d, other))
		}
	}
}

// doc is one document while it is read.
type doc struct {
	*parser
	root *document.Node
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
	d.file.origins[f] = origin{root: d.root, at: at}
}

func (d *doc) addListener(l *Listener) {
	d.file.Listeners = append(d.file.Listeners, l)
	d.file.origins[l] = origin{root: d.root}
}

// addResource adds a resource; at is as in origin.
func (d *doc) addResource(r *Resource, at map[string]string) {
	d.file.Resources = append(d.file.Resources, r)
	d.file.origins[r] = origin{root: d.root, at: at}
}
