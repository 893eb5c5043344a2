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

// table has the state of each document. It is used by one goroutine.
type table struct {
	parser    definition.Parser
	merge     func([]*definition.File) (*definition.Set, []definition.Problem)
	kept      *lastGood
	log       *slog.Logger
	removeAll bool // as Join.RemoveAll

	sources []*origin
	docs    map[Key]*tracked

	set      *definition.Set // last merged set
	problems []definition.Problem
	held     Removal
	heldID   string
	released string // id of a removal that is being confirmed

	force     map[string]inForce // while listeners are withheld: those in force
	forceKept []byte             // stored form of force
	base      *definition.Set    // while a removal is held back: the set before it
}

// origin is the state of a source as a whole.
type origin struct {
	name, base string
	object     func(name string) (called string, scope definition.Scope) // as Source.Object
	begun      bool                                                      // one batch was processed
	known      bool                                                      // its documents are, or were when they were stored, complete

	unread  []definition.Problem // parts that can't be read
	dark    []definition.Problem // parts that were never known
	leftOut *definition.Problem

	unusable []Key // keys whose last good content is invalid in this version
}

// tracked is one document.
type tracked struct {
	name    string              // as in problems
	current *version            // current content; nil: not known
	good    *version            // content in force: the last that was valid by itself and with the others
	trouble *definition.Problem // why current is not known
	removed bool                // gone, and in force until the next join removes it
}

// version is the content of a document at one time. Data is set until it has
// been stored.
type version struct {
	revision string
	sum      [sha256.Size]byte
	data     []byte
	file     *definition.File // nil: invalid
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

// take updates the table from a batch, and reports whether the batch had any
// content.
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

// look processes one existing document.
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
	known.current.revision = d.Revision // the same content may have a new revision, and restored content has none
}

// called returns the name of a document for problems.
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

// missing processes the documents that a whole batch does not have.
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

// holds reports whether a document may be in the part.
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

// restore restores the stored content of a source: each document has its last
// good content before the source reports anything. The first batch, which is
// whole, shows which of them were removed meanwhile.
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
			t.log.Warn("this xds-server can't use the last good version of a file", "file", o.called(&d), "problem", v.problems[0].Error())
			o.unusable = append(o.unusable, d.Key)
			continue
		}
		t.docs[d.Key] = &tracked{name: o.called(&d), good: v}
		o.known = true
	}
}

// known reports whether all sources are known.
func (t *table) known() bool {
	return !slices.ContainsFunc(t.sources, func(o *origin) bool { return !o.known })
}

// sorted returns the keys of the documents in order.
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

// present returns the number of documents that are not removed.
func (t *table) present() int {
	n := 0
	for _, d := range t.docs {
		if !d.removed {
			n++
		}
	}
	return n
}

// objects returns the state of all documents that are objects.
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

// place returns the location of all documents for messages, or "" if there are
// several sources.
func (t *table) place() string {
	if len(t.sources) == 1 {
		return cmp.Or(t.sources[0].base, t.sources[0].name)
	}
	return ""
}
