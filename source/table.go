package source

import (
	"cmp"
	"crypto/sha256"
	"log/slog"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
)

// table has what is known of each document. It is used by one goroutine.
type table struct {
	parser    definition.Parser
	merge     func([]*definition.File) (*definition.Set, []definition.Problem)
	kept      *lastGood
	log       *slog.Logger
	removeAll bool // as Join.RemoveAll

	sources []*origin
	docs    map[Key]*tracked

	set      *definition.Set // as last merged
	problems []definition.Problem
	held     Removal
	heldID   string
	released string // id of a removal that is let go, while it is

	force     map[string]inForce // while listeners are withheld: those that are in force
	forceKept []byte             // of it, what is kept
	base      *definition.Set    // while a removal is held: the set before it
}

// origin is what is known of a source as a whole.
type origin struct {
	name, base string
	object     func(name string) (called string, scope definition.Scope) // as Source.Object
	begun      bool                                                      // one batch has been taken in
	known      bool                                                      // its documents are what there is, or was when it was kept

	unread  []definition.Problem // parts of it
	dark    []definition.Problem // parts of which nothing was ever known
	leftOut *definition.Problem

	unusable []Key // whose last good content is not good to this version
}

// tracked is one document.
type tracked struct {
	name    string              // as problems have it
	current *version            // what it holds; nil while that is not known
	good    *version            // what counts: the last that was good by itself and with the others
	trouble *definition.Problem // why current is not known
	removed bool                // gone; it counts until the next join lets it go
}

// version is a document's content at one time. Its data is there until it is
// kept.
type version struct {
	revision string
	sum      [sha256.Size]byte
	data     []byte
	file     *definition.File // nil: bad
	problems []definition.Problem
	holes    []*definition.Hole
}

func newTable(sources []Source, kept *lastGood, log *slog.Logger) *table {
	t := &table{parser: kinds.Parser(), merge: definition.Merge, kept: kept, log: log, docs: map[Key]*tracked{}}
	for _, s := range sources {
		t.sources = append(t.sources, &origin{name: s.Name, base: s.Base, object: s.Object})
	}
	if data, ok := kept.loadForce(); ok {
		t.restoreForce(data)
	}
	return t
}

// take brings the table up to date with a batch, and says whether there was
// anything in it.
func (t *table) take(b Batch) bool {
	i := slices.IndexFunc(t.sources, func(o *origin) bool { return o.name == b.Source })
	if i < 0 || !b.Whole && len(b.Docs) == 0 {
		return false
	}
	o := t.sources[i]
	if !o.begun {
		o.begun = true
		t.restore(o)
	}
	present := make(map[Key]bool, len(b.Docs))
	for i := range b.Docs {
		d := &b.Docs[i]
		known := t.docs[d.Key]
		present[d.Key] = true
		if d.Gone {
			if known != nil {
				known.removed = true
			}
			continue
		}
		if known == nil {
			known = &tracked{name: o.called(d)}
			t.docs[d.Key] = known
		}
		known.removed = false
		t.look(o, known, d)
	}
	if b.Whole {
		t.missing(o, b, present)
	}
	return true
}

// look takes in one document that is there.
func (t *table) look(o *origin, known *tracked, d *Document) {
	switch {
	case d.Trouble != nil:
		if known.trouble = d.Trouble; !d.Trouble.Warning {
			known.current = nil
		}
		return
	case d.Data == nil:
		return
	}
	known.trouble = nil
	sum := sha256.Sum256(d.Data)
	switch {
	case known.current != nil && known.current.sum == sum:
	case known.good != nil && known.good.sum == sum:
		known.current = known.good
	default:
		known.current = t.version(o, d, sum, d.Data)
	}
	known.current.revision = d.Revision // that of the same content may be another, and of what was restored it is not known
}

// called is what problems call a document.
func (o *origin) called(d *Document) string {
	if o.object == nil {
		return d.name()
	}
	called, _ := o.object(d.Key.Name)
	return called
}

func (t *table) version(o *origin, d *Document, sum [sha256.Size]byte, data []byte) *version {
	v := &version{revision: d.Revision, sum: sum, data: data}
	var parsed definition.Parsed
	if o.object == nil {
		parsed = t.parser.ReadFrom(d.name(), d.Base, data)
	} else {
		called, scope := o.object(d.Key.Name)
		parsed = t.parser.ReadObject(called, scope, data)
	}
	v.file, v.problems, v.holes = parsed.File, parsed.Problems, parsed.Holes
	return v
}

// missing takes in which documents a whole batch does not have.
func (t *table) missing(o *origin, b Batch, present map[Key]bool) {
	kept := make([]bool, len(b.Unknown))
	for key, known := range t.docs {
		if key.Source != o.name || present[key] {
			continue
		}
		i := slices.IndexFunc(b.Unknown, func(u Unknown) bool { return u.holds(key.Name) })
		if i >= 0 {
			kept[i] = true
		}
		known.removed = i < 0 && b.LeftOut == nil
	}
	for _, key := range o.unusable {
		if !present[key] && b.LeftOut == nil && !slices.ContainsFunc(b.Unknown, func(u Unknown) bool { return u.holds(key.Name) }) {
			t.kept.put(key, nil)
		}
	}
	o.unusable = nil
	o.unread, o.dark, o.leftOut = nil, nil, b.LeftOut
	for i, u := range b.Unknown {
		if kept[i] || !u.Slight {
			o.unread = append(o.unread, u.Problem)
		}
		if !kept[i] && !u.Slight {
			o.dark = append(o.dark, u.Problem)
		}
	}
	if !slices.ContainsFunc(b.Unknown, func(u Unknown) bool { return u.Below == "" && u.Like == "" }) {
		if o.known = true; len(present) == 0 && o.name != Dir {
			t.kept.putEmpty(o.name)
		}
	}
}

// holds says whether a document may be in the part.
func (u *Unknown) holds(name string) bool {
	if u.Below != "" && !strings.HasPrefix(name, u.Below+"/") {
		return false
	}
	if u.Like == "" {
		return true
	}
	like, err := path.Match(u.Like, name)
	return like && err == nil
}

// restore starts from what was kept of a source: each document has its last
// good content before anything is heard of it. The first batch, which is
// whole, tells which of them were removed meanwhile.
func (t *table) restore(o *origin) {
	o.known = t.kept.wasEmpty(o.name)
	for name, data := range t.kept.load(o.name) {
		d := Document{Key: Key{o.name, name}}
		if o.base != "" {
			d.Base = filepath.Join(o.base, filepath.FromSlash(path.Dir(name)))
		}
		v := t.version(o, &d, sha256.Sum256(data), data)
		v.data = nil
		if v.file == nil {
			t.log.Warn("the last good content of a file is not good to this version", "file", o.called(&d), "problem", v.problems[0].Error())
			o.unusable = append(o.unusable, d.Key)
			continue
		}
		t.docs[d.Key] = &tracked{name: o.called(&d), good: v}
		o.known = true
	}
}

// known says whether something is known of each source.
func (t *table) known() bool {
	return !slices.ContainsFunc(t.sources, func(o *origin) bool { return !o.known })
}

// sorted gives the documents' keys in order.
func (t *table) sorted() []Key {
	keys := make([]Key, 0, len(t.docs))
	for key := range t.docs {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b Key) int {
		if a.Source != b.Source {
			return strings.Compare(a.Source, b.Source)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return keys
}

// present counts the documents that are there.
func (t *table) present() int {
	n := 0
	for _, d := range t.docs {
		if !d.removed {
			n++
		}
	}
	return n
}

// objects gives what became of those.
func (t *table) objects() map[Key]Object {
	problems := map[string][]definition.Problem{}
	for _, p := range t.problems {
		if !p.Warning {
			problems[p.File] = append(problems[p.File], p)
		}
	}
	all := map[Key]Object{}
	for _, o := range t.sources {
		if o.object == nil {
			continue
		}
		for key, d := range t.docs {
			if key.Source == o.name && d.current != nil && !d.removed {
				all[key] = Object{Revision: d.current.revision, Good: d.good == d.current, Problems: problems[d.name]}
			}
		}
	}
	return all
}

// place names to people where all documents are.
func (t *table) place() string {
	if len(t.sources) == 1 {
		return cmp.Or(t.sources[0].base, t.sources[0].name)
	}
	return ""
}
