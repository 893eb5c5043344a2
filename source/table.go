package source

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
)

const (
	// racy is how much younger than our reading of it a file's last change may
	// be while size and times still tell whether it changed since: clocks of
	// file systems are coarse, those of file servers are not ours.
	racy = 2 * time.Second
	// hold is how long a file that is being written all the while is left
	// alone.
	hold = 5 * time.Second
)

// table has what is known of each file. It is used by one goroutine; the time
// is given to it.
type table struct {
	quiet, max time.Duration // as in Directory
	size       int64
	count      int
	parse      func(string, []byte) definition.Parsed
	merge      func([]*definition.File) (*definition.Set, []definition.Problem)
	kept       *lastGood
	log        *slog.Logger
	open       func(path string) (*os.File, fs.FileInfo, error)
	root       string // the directory
	removeAll  bool   // as Directory.RemoveAll

	files    map[string]*file // by entry.rel
	begun    bool             // one walk has been taken in
	known    bool             // files is what there is, or was when it was kept
	distrust bool             // read every file, whatever it looks like

	unread []definition.Problem // folders
	excess int                  // files beyond count

	set      *definition.Set // as last merged
	problems []definition.Problem
	held     Removal

	dark      []definition.Problem // folders of which nothing was ever known
	force     map[string]inForce   // while listeners are withheld: those that are in force
	forceKept []byte               // of it, what is kept
	base      *definition.Set      // while a removal is held: the set before it
}

// file is one file of definitions.
type file struct {
	path    string
	current *version            // what it holds; nil while that is not known
	good    *version            // what counts: the last that was good by itself and with the others
	trouble *definition.Problem // why current is not known

	info    fs.FileInfo // as it was when current was read
	readAt  time.Time
	gone    time.Time   // missing since
	removed bool        // missing for good; it counts until the next join lets it go
	busy    time.Time   // being written since
	writing fs.FileInfo // as it was seen last while busy
}

// version is a file's content at one time. Its data is there until it is kept.
type version struct {
	sum      [sha256.Size]byte
	data     []byte
	file     *definition.File // nil: bad
	problems []definition.Problem
	holes    []*definition.Hole
}

// taken says what taking in a walk led to.
type taken struct {
	changed bool // something is not as it was at the walk before
	open    bool // something is under way: a file being written, or missing too short a time to be gone for good
}

// take brings the table up to date with a walk. Late says that the burst has
// gone on for as long as it may.
func (t *table) take(f found, now time.Time, late bool) taken {
	var got taken
	if !t.begun {
		t.restore(f)
		t.begun = true
	}
	present := make(map[string]bool, len(f.files))
	var fresh []fs.FileInfo // of files that are new, or other files than before
	for _, e := range f.files {
		present[e.rel] = true
		known := t.files[e.rel]
		if e.info != nil && (known == nil || known.info == nil || !os.SameFile(e.info, known.info)) {
			fresh = append(fresh, e.info)
		}
	}
	t.missing(f, present, fresh, now, &got)
	count, excess := t.present(), 0
	for _, e := range f.files {
		known := t.files[e.rel]
		if known == nil || known.removed {
			if count >= t.count {
				excess++
				continue
			}
			count++
		}
		if known == nil {
			known = &file{path: e.path}
			t.files[e.rel] = known
		}
		got.changed = got.changed || known.removed
		known.gone, known.removed = time.Time{}, false
		news, open := t.look(known, e, now, late)
		got.changed = got.changed || news
		got.open = got.open || open
	}
	t.distrust = false
	if excess != t.excess {
		t.excess, got.changed = excess, true
	}
	return got
}

// look takes in one file that is there.
func (t *table) look(f *file, e entry, now time.Time, late bool) (news, open bool) {
	if e.err != nil {
		return f.fail(e.err), false
	}
	if f.info != nil && f.trouble == nil && !t.distrust && same(f.info, e.info) && f.readAt.Sub(changed(e.info)) > racy {
		return false, false
	}
	hot := func(info fs.FileInfo) bool { // written a moment ago; a time to come is just wrong
		age := now.Sub(info.ModTime())
		return -time.Second < age && age < t.quiet
	}
	if late && f.writing != nil && !os.SameFile(f.writing, e.info) {
		hot = nil // whole files take each other's place, in no time
	}
	force := !f.busy.IsZero() && now.Sub(f.busy) >= hold
	data, info, err := read(t.open, f.path, t.size, hot, force)
	if errors.Is(err, errBusy) {
		if f.busy.IsZero() {
			f.busy = now
		}
		f.writing = info
		if late {
			return f.say(definition.Problem{File: f.path, Warning: true, Message: "is being written; it is read when that has ended"}), true
		}
		return false, true
	}
	f.busy, f.writing = time.Time{}, nil
	if err != nil {
		return f.fail(err), false
	}
	f.info, f.readAt = info, now
	news = f.trouble != nil
	f.trouble = nil
	sum := sha256.Sum256(data)
	if f.current != nil && f.current.sum == sum {
		return news, false
	}
	if f.good != nil && f.good.sum == sum {
		f.current = f.good
		return true, false
	}
	f.current = t.version(f.path, sum, data)
	return true, false
}

func (t *table) version(path string, sum [sha256.Size]byte, data []byte) *version {
	v := &version{sum: sum, data: data}
	parsed := t.parse(path, data)
	v.file, v.problems, v.holes = parsed.File, parsed.Problems, parsed.Holes
	return v
}

// fail notes that a file can't be read.
func (f *file) fail(err error) (changed bool) {
	p := definition.Problem{File: f.path, Message: fmt.Sprintf("can't be read: %v", reason(err))}
	switch {
	case errors.Is(err, files.ErrOutside):
		p.Message = "is a link that leads out of the definitions directory"
		p.Hint = "have --module-root name the folder that it leads to"
	case errors.Is(err, fs.ErrNotExist):
		p.Message = "is a link that leads nowhere"
	case errors.Is(err, fs.ErrPermission):
		p.Hint = "xds-server needs the right to read it"
	}
	f.current, f.info = nil, nil
	return f.say(p)
}

func (f *file) say(p definition.Problem) (changed bool) {
	if f.trouble != nil && *f.trouble == p {
		return false
	}
	f.trouble = &p
	return true
}

// missing takes in which files are not there any more.
func (t *table) missing(f found, present map[string]bool, fresh []fs.FileInfo, now time.Time, got *taken) {
	var problems, dark []definition.Problem
	kept := make([]bool, len(f.unread))
	for rel, known := range t.files {
		if present[rel] {
			continue
		}
		i := slices.IndexFunc(f.unread, func(u unread) bool { return u.holds(rel) })
		if i >= 0 {
			kept[i] = true
			got.changed = got.changed || known.removed
			known.gone, known.removed = time.Time{}, false
			continue
		}
		if known.removed {
			continue
		}
		if known.gone.IsZero() {
			known.gone = now
			got.changed = true
		}
		renamed := known.info != nil && slices.ContainsFunc(fresh, func(i fs.FileInfo) bool { return os.SameFile(i, known.info) })
		if !renamed && now.Sub(known.gone) < t.max {
			got.open = true
			continue
		}
		known.removed = true
		got.changed = true
	}
	for i, u := range f.unread {
		if kept[i] || !u.link {
			problems = append(problems, u.problem)
		}
		if !kept[i] && !u.link {
			dark = append(dark, u.problem)
		}
	}
	t.dark = dark
	if !slices.Equal(problems, t.unread) {
		got.changed = true
	}
	t.unread = problems
	if !slices.ContainsFunc(f.unread, func(u unread) bool { return u.rel == "." }) {
		t.known = true
	}
}

// restore starts from what was kept: each file has its last good content
// before it is looked at. Those that are not there were removed meanwhile.
func (t *table) restore(f found) {
	kept := t.kept.load(t.size)
	if len(kept) == 0 {
		return
	}
	paths := map[string]string{}
	for _, e := range f.files {
		paths[e.rel] = e.path
	}
	if data, ok := kept[forceFile]; ok {
		t.restoreForce(data)
		delete(kept, forceFile)
	}
	for rel, data := range kept {
		path, there := paths[rel]
		for _, u := range f.unread {
			if !there && u.holds(rel) {
				path, there = u.path(rel), true
			}
		}
		if !there {
			path = filepath.Join(t.root, filepath.FromSlash(rel))
		}
		v := t.version(path, sha256.Sum256(data), data)
		v.data = nil
		if v.file == nil {
			t.log.Warn("the last good content of a file is not good to this version", "file", path, "problem", v.problems[0].Error())
			if !there {
				t.kept.put(rel, nil)
			}
			continue
		}
		t.files[rel] = &file{path: path, good: v, removed: !there}
		t.known = true
	}
}

// sorted gives the files' keys in order.
func (t *table) sorted() []string {
	rels := make([]string, 0, len(t.files))
	for rel := range t.files {
		rels = append(rels, rel)
	}
	slices.SortFunc(rels, strings.Compare)
	return rels
}

// present counts the files that are there.
func (t *table) present() int {
	n := 0
	for _, f := range t.files {
		if !f.removed {
			n++
		}
	}
	return n
}
