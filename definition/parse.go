package definition

import (
	"cmp"
	"maps"
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
	Rollouts  []*Rollout
	Tests     []*FilterTest

	left     []Problem      // of bootstraps: what is of no use to a server
	undumped []Problem      // of config_dumps: what nobody has defined
	origins  map[any]origin // of each definition
	variants *madeFilters   // of its filters; see [Merge]
}

// origin is what a definition was made of, so that Merge can say in which
// line a field is.
type origin struct {
	root *document.Node
	// object is what root is made of, where that is one of Kubernetes.
	object *document.Node
	within string // where root is in its document; "": it is all of that
	item   bool   // of a List
	// at says where the fields of WasmFilter are in a document of another
	// kind. Nil: where they are in a WasmFilter.
	at map[string]string
}

// path gives a field of WasmFilter as it is called in the document.
func (o origin) path(field string) string {
	if o.object != nil {
		return inObject(field)
	}
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

// written is the document as it is written.
func (o origin) written() *document.Node {
	if o.object != nil {
		return o.object
	}
	return o.root
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

// Parser reads files. The zero value knows the native kinds alone.
type Parser struct {
	Kinds []Kind // besides the native ones
	Dumps bool   // what an Envoy prints at /config_dump is read, too, to convert it
}

// Parse reads a file as [Parser.Read] does, without its holes.
func (k Parser) Parse(name string, data []byte) (*File, []Problem) {
	r := k.Read(name, data)
	return r.File, r.Problems
}

// Read reads a file: YAML, or JSON where the name ends in .json, with any
// number of documents. All problems come back in one pass.
//
// Name is the path under which the file was found. It is told in problems and
// positions, and modules with a relative URL are looked for from its folder:
// give an absolute path where the working directory may change.
func (k Parser) Read(name string, data []byte) Parsed {
	return k.ReadFrom(name, filepath.Dir(name), data)
}

// ReadFrom is Read for what was not found as a file: name is what people call
// it, and base the folder that modules with a relative URL are looked for from;
// with "" there can be none.
func (k Parser) ReadFrom(name, base string, data []byte) Parsed {
	p := newParser(name, k.Kinds)
	p.base, p.dumps = base, k.Dumps
	data, p.configFiles = cutConfigFiles(data)
	roots, found := reader(name)(data)
	return p.read(roots, found, data)
}

// ReadObject reads an object of a Kubernetes cluster, as JSON: name is what people
// call it, and scope what it has authority over. Its problems have no lines.
func (k Parser) ReadObject(name string, scope Scope, data []byte) Parsed {
	roots, found := document.Unlined(data)
	p := newParser(name, k.Kinds)
	p.base, p.scope = "", scope
	if len(roots) == 1 {
		p.generation, p.by = generationOf(roots[0]), authorOf(roots[0])
	}
	return p.read(roots, found, data)
}

// read makes a file of its documents.
func (p *parser) read(roots []*document.Node, found []document.Problem, data []byte) Parsed {
	name := p.file.Name
	p.broken = len(found) > 0
	p.report(found)
	for _, root := range roots {
		if len(p.problems) > document.MaxProblems {
			break
		}
		p.document(root, false)
	}
	p.end()
	if len(found) == 0 {
		p.duplicates()
	}
	slices.SortStableFunc(p.problems, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if len(p.problems) > document.MaxProblems {
		p.problems = append(p.problems[:document.MaxProblems], Problem{File: name, Message: "and more problems"})
		p.miss(Unread(p.problems[document.MaxProblems]), false)
	}
	if !p.broken {
		return Parsed{p.file, p.holes, p.problems}
	}
	cause := p.problems[slices.IndexFunc(p.problems, func(p Problem) bool { return !p.Warning })]
	switch {
	case len(found) == 0:
		p.holes = append(p.holes, p.file.Holes(cause)...)
	case p.scope.Namespace != "":
		p.holes = nil
		p.miss(Unread(cause), false)
	default:
		p.holes = salvage(name, data, p.kinds, cause)
	}
	for _, h := range p.holes {
		h.mayBeRollout = h.Kind == "" && mentionsRollout.Match(data)
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
	file  *File
	base  string // folder of relative module URLs; "": they are wrong
	dumps bool   // are read
	scope Scope  // of an object of a Kubernetes cluster

	configFiles map[string]configFile // that the file names; see WithConfigFiles

	generation int64 // of the object
	by         string
	problems   []Problem
	kinds      []Kind
	readers    map[string]Reader // that were needed, by kind
	holes      []*Hole           // documents that have errors
	broken     bool              // the file can't be used
}

func newParser(name string, kinds []Kind) *parser {
	return &parser{file: &File{Name: name, origins: map[any]origin{}, variants: new(madeFilters)}, base: filepath.Dir(name), kinds: kinds, readers: map[string]Reader{}}
}

func (p *parser) report(found []document.Problem) {
	for _, f := range found {
		p.problems = append(p.problems, Problem{File: p.file.Name, Line: f.Line, Field: f.Field, Message: f.Message, Hint: f.Hint})
	}
}

// native are the documents of kinds of our own. Each function adds to the file
// what it makes of the document.
func native() map[string]func(*Doc) {
	return map[string]func(*Doc){"WasmFilter": readWasmFilter, luaKind: readLuaFilter, "Listener": readListener, rolloutKind: readRollout, testKind: readFilterTest, "List": readList}
}

// reader gives what reads the other documents of a kind; nil: it is not known.
func (p *parser) reader(kind string) Reader {
	if r, ok := p.readers[kind]; ok {
		return r
	}
	for _, k := range p.kinds {
		if k.Name == kind {
			p.readers[kind] = k.New()
			return p.readers[kind]
		}
	}
	return nil
}

// end has the readers put together what several documents define.
func (p *parser) end() {
	for _, k := range p.kinds {
		if r, ok := p.readers[k.Name]; ok {
			r.End()
		}
	}
}

// document reads a document, or an item of a List. One that has errors leaves a
// hole, and outside a List takes the whole file with it.
func (p *parser) document(root *document.Node, item bool) {
	d := p.doc(root, item)
	if root.Kind == document.Object && root.Get("@type") == nil && document.TextOf(root.Get("kind")) == "List" {
		readList(d)
		return
	}
	d.read()
	i := slices.IndexFunc(p.problems[d.first:], func(p Problem) bool { return !p.Warning })
	if i < 0 {
		return
	}
	cause := p.problems[d.first+i]
	if d.unrelated() {
		p.problems = p.problems[:d.first]
		if p.scope.Namespace == "" { // a cluster has many
			d.passedOver(cause)
		}
		return
	}
	p.miss(d.Hole(cause), item)
}

// miss notes a hole.
func (p *parser) miss(h *Hole, item bool) {
	p.scope.hole(h)
	p.holes = append(p.holes, h)
	p.broken = p.broken || !item
}

func (d *Doc) read() {
	if d.root.Kind != document.Object {
		d.Problem("", "", "%s, needs a mapping with kind or @type", d.root.Kind)
		return
	}
	if isDump(d.root) {
		d.readDump()
		return
	}
	if d.readStatic() {
		return
	}
	if d.root.Get("@type") != nil {
		readRaw(d)
		return
	}
	kind := d.root.Get("kind")
	if kind == nil {
		d.Problem("kind", "a document begins with kind: WasmFilter, kind: LuaFilter, kind: Listener, kind: Rollout, kind: FilterTest, or the @type of an Envoy resource", "is missing")
		return
	}
	if read, ok := native()[kind.Text]; ok {
		if isObject(d.root) {
			d.readObject(read)
			return
		}
		read(d)
		return
	}
	if r := d.reader(kind.Text); r != nil {
		r.Read(d)
		return
	}
	names := slices.Collect(maps.Keys(native()))
	for _, k := range d.kinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	d.Problem("kind", document.Suggest(kind.Text, names), "%q is not known", kind.Text)
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
		p.miss(p.doc(from.root, from.item).Hole(problem), from.item)
		again[d.definition] = true
	}
	if len(again) == 0 {
		return
	}
	f.Filters = slices.DeleteFunc(f.Filters, func(d *Filter) bool { return again[d] })
	f.Listeners = slices.DeleteFunc(f.Listeners, func(d *Listener) bool { return again[d] })
	f.Resources = slices.DeleteFunc(f.Resources, func(d *Resource) bool { return again[d] })
	f.Rollouts = slices.DeleteFunc(f.Rollouts, func(d *Rollout) bool { return again[d] })
}
