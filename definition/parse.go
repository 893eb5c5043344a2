package definition

import (
	"bytes"
	"cmp"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// MaxSize is the maximum size of a file in bytes. A caller need not read
// further.
const MaxSize = document.MaxSize

// File has the definitions of one file. It is immutable.
type File struct {
	Name      string
	Filters   []*Filter // in the order of the file, as are all below
	Listeners []*Listener
	Resources []*Resource
	Rollouts  []*Rollout
	Tests     []*FilterTest

	left     []Problem      // from bootstraps: what a server has no use for
	undumped []Problem      // from config_dumps: what nobody has defined
	origins  map[any]origin // by definition
	variants *madeFilters   // of the filters; see [Merge]
}

// origin is the document that a definition was made from. Merge uses it to find
// the line of a field.
type origin struct {
	root *document.Node
	// object is the Kubernetes object that root was made from, if any.
	object *document.Node
	within string // path of root in its document; "": it is the whole document
	item   bool   // an item of a List
	// at maps the fields of WasmFilter to their paths in a document of another
	// kind. If nil, the paths are those of a WasmFilter.
	at map[string]string
}

// adder returns the Kubernetes object that adds a resource to what else it says,
// for people. It returns "" if the document is the resource.
func (o origin) adder() string {
	meta := o.root.Get("metadata")
	kind, name := document.TextOf(o.root.Get("kind")), document.TextOf(meta.Get("name"))
	if kind == "" || name == "" {
		return ""
	}
	if namespace := document.TextOf(meta.Get("namespace")); namespace != "" {
		name = namespace + "/" + name
	}
	return kind + " " + name
}

// path returns the path in the document of a WasmFilter's field.
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

// written returns the document as it is written.
func (o origin) written() *document.Node {
	if o.object != nil {
		return o.object
	}
	return o.root
}

// Document returns the document of a definition as JSON, which is the same for
// the same content. It returns nil if the definition is not from this file.
func (f *File) Document(definition any) []byte {
	from := f.origins[definition]
	if from.root == nil {
		return nil
	}
	return from.root.JSON()
}

// Parsed is the result of parsing a file.
type Parsed struct {
	// File has what can be used; it is nil if nothing can. An error in an item
	// of a Kubernetes List excludes only that item. Any other error excludes
	// the whole file.
	File     *File
	Holes    []*Hole // what is missing from it
	Problems []Problem
}

// Parser parses files. The zero value knows only the native kinds.
type Parser struct {
	Kinds []Kind // in addition to the native ones
	Dumps bool   // also read the output of Envoy's /config_dump, to convert it
}

// Parse is like [Parser.Read], without the holes.
func (k Parser) Parse(name string, data []byte) (*File, []Problem) {
	r := k.Read(name, data)
	return r.File, r.Problems
}

// Read parses a file: YAML, or JSON if the name ends in .json, with any number
// of documents. It returns all problems in one pass.
//
// Name is the path of the file. It appears in problems and positions, and the
// URLs of modules are resolved against its folder. Pass an absolute path if the
// working directory may change.
func (k Parser) Read(name string, data []byte) Parsed {
	return k.ReadFrom(name, filepath.Dir(name), data)
}

// ReadFrom is like Read for what is not a file: name is for people, and base is
// the folder that relative module URLs are resolved against. If base is "",
// relative URLs are errors.
func (k Parser) ReadFrom(name, base string, data []byte) Parsed {
	p := newParser(name, k.Kinds)
	p.base, p.dumps = base, k.Dumps
	data, p.configFiles = cutConfigFiles(data)
	roots, found := reader(name)(data)
	return p.read(roots, found, data)
}

// ReadObject reads an object of a Kubernetes cluster, as JSON. The name is for
// people, and scope is what the object has authority over. Its problems have no
// lines.
func (k Parser) ReadObject(name string, scope Scope, data []byte) Parsed {
	roots, found := document.Unlined(data)
	p := newParser(name, k.Kinds)
	p.base, p.scope = "", scope
	if len(roots) == 1 {
		p.generation, p.by = generationOf(roots[0]), authorOf(roots[0])
	}
	return p.read(roots, found, data)
}

// read reads a file from its documents.
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
	hintPlaceholders(p.problems, data)
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

// hintPlaceholders adds a hint to errors in lines that have a placeholder, as in
// ${HOST} or {{ .Values.host }}. The problems are sorted by line.
func hintPlaceholders(problems []Problem, data []byte) {
	line := 1
	for i, p := range problems {
		for ; line < p.Line; line++ {
			_, data, _ = bytes.Cut(data, []byte("\n"))
		}
		if p.Hint == "" && !p.Warning && p.Line == line {
			text, _, _ := bytes.Cut(data, []byte("\n"))
			problems[i].Hint = document.Placeholder(text)
		}
	}
}

// reader returns the function that reads the documents of a file of this name.
func reader(name string) func([]byte) ([]*document.Node, []document.Problem) {
	if isJSON(name) {
		return document.JSON
	}
	return document.YAML
}

func isJSON(name string) bool { return strings.EqualFold(filepath.Ext(name), ".json") }

// parser collects what a file defines and its problems.
type parser struct {
	file  *File
	base  string // folder that relative module URLs are resolved against; "": they are errors
	dumps bool   // whether they are read
	scope Scope  // for an object of a Kubernetes cluster

	configFiles map[string]configFile // files that the file names; see WithConfigFiles

	generation int64 // of the Kubernetes object
	by         string
	problems   []Problem
	kinds      []Kind
	readers    map[string]Reader // those used so far, by kind
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

// native returns the functions that read documents of the native kinds. Each
// adds what it reads to the file.
func native() map[string]func(*Doc) {
	return map[string]func(*Doc){"WasmFilter": readWasmFilter, luaKind: readLuaFilter, "Listener": readListener, rolloutKind: readRollout, testKind: readFilterTest, "List": readList}
}

// reader returns the Reader of another kind, or nil if the kind is not known.
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

// end calls End of all readers.
func (p *parser) end() {
	for _, k := range p.kinds {
		if r, ok := p.readers[k.Name]; ok {
			r.End()
		}
	}
}

// document reads a document, or an item of a List. One that has errors leaves a
// hole and, outside a List, excludes the whole file.
func (p *parser) document(root *document.Node, item bool) {
	d := p.doc(root, item)
	if root.Kind == document.Object && root.Get("@type") == nil && document.TextOf(root.Get("kind")) == "List" {
		readList(d)
		return
	}
	before := *p.file
	d.read()
	i := slices.IndexFunc(p.problems[d.first:], func(p Problem) bool { return !p.Warning })
	if i < 0 {
		return
	}
	cause := p.problems[d.first+i]
	// Nothing of a document with errors is used, such as the cluster that it also adds.
	p.file.Filters, p.file.Listeners, p.file.Resources = before.Filters, before.Listeners, before.Resources
	p.file.Rollouts, p.file.Tests = before.Rollouts, before.Tests
	if d.unrelated() {
		p.problems = p.problems[:d.first]
		if p.scope.Namespace == "" { // a cluster has many of these
			d.passedOver(cause)
		}
		return
	}
	p.miss(d.Hole(cause), item)
}

// miss records a hole.
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
		if !d.ofAnotherGroup(kind.Text) {
			r.Read(d)
		}
		return
	}
	names := slices.Collect(maps.Keys(native()))
	for _, k := range d.kinds {
		names = append(names, k.Name)
	}
	slices.Sort(names)
	d.Problem("kind", document.Suggest(kind.Text, names), "%q is not known", kind.Text)
}

// duplicates reports names that are used twice in the file, and removes the
// later definitions. (The file is left out unless they are items of a List, or
// only repeat what others say.)
func (p *parser) duplicates() {
	names := newNames()
	f := p.file
	again := map[any]bool{}
	for _, d := range f.definitions() {
		other, taken := names.take(d)
		if !taken {
			continue
		}
		again[d.definition] = true
		if d.repeats(other) {
			continue
		}
		problem := f.duplicate(d, other)
		p.problems = append(p.problems, problem)
		from := f.origins[d.definition]
		p.miss(p.doc(from.root, from.item).Hole(problem), from.item)
	}
	if len(again) == 0 {
		return
	}
	f.Filters = slices.DeleteFunc(f.Filters, func(d *Filter) bool { return again[d] })
	f.Listeners = slices.DeleteFunc(f.Listeners, func(d *Listener) bool { return again[d] })
	f.Resources = slices.DeleteFunc(f.Resources, func(d *Resource) bool { return again[d] })
	f.Rollouts = slices.DeleteFunc(f.Rollouts, func(d *Rollout) bool { return again[d] })
}
