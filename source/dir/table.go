package dir

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/source"
)

const (
	// racy is how recent a file's last change may be when the file is read, and
	// size and times still detect a later change. It allows for file systems
	// with coarse clocks, and file servers with clocks of their own.
	racy = 2 * time.Second
	// hold is how long to wait for a file that is continuously being written.
	hold = 5 * time.Second
)

// table has the state of each file. It is used by one goroutine. The time is
// passed in.
type table struct {
	quiet, max time.Duration // as in Directory
	size       int64
	count      int
	open       func(path string) (*os.File, fs.FileInfo, error)
	config     func(path string) (*os.File, fs.FileInfo, error) // opens configuration files
	stat       func(path string) (fs.FileInfo, error)           // for configuration files

	files    map[string]*file // by entry.rel
	distrust bool             // read every file, even if it looks unchanged

	unread []unread // folders that can't be read
	excess int      // number of files beyond count
	whole  bool     // the next batch must be whole: the folders that can't be read, or the number of files that are left out, have changed
	begun  bool     // one batch was made
}

// file is one file of definitions.
type file struct {
	path     string
	revision string              // of its content; "": unknown
	trouble  *definition.Problem // why the file can't be read

	news bool   // there is something to send:
	data []byte // its content; nil: unchanged

	info    fs.FileInfo // as it was when the content was read
	readAt  time.Time
	beside  []beside    // files that it names
	gone    time.Time   // missing since
	removed bool        // permanently missing, and to be sent as such
	unseen  bool        // in a folder that can't be read
	busy    time.Time   // being written since
	writing fs.FileInfo // as last seen while busy
}

// taken is the result of processing a walk.
type taken struct {
	changed bool // something has changed since the previous walk
	open    bool // something is in progress: a file is being written, or has not been missing long enough
}

// take updates the table from a walk. If late is set, the burst has reached its
// maximum duration.
func (t *table) take(f found, now time.Time, late bool) taken {
	var got taken
	present := make(map[string]bool, len(f.files))
	var fresh []fs.FileInfo // of files that are new, or have been replaced
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
		known.news = known.news || known.removed
		known.gone, known.removed, known.unseen = time.Time{}, false, false
		news, open := t.look(known, e, now, late)
		known.news = known.news || news
		got.changed = got.changed || news
		got.open = got.open || open
	}
	t.distrust = false
	if excess != t.excess {
		t.excess, t.whole, got.changed = excess, true, true
	}
	return got
}

// look processes one existing file.
func (t *table) look(f *file, e entry, now time.Time, late bool) (news, open bool) {
	if e.err != nil {
		return f.fail(e.err), false
	}
	if f.info != nil && f.trouble == nil && !t.distrust && same(f.info, e.info) && f.readAt.Sub(changed(e.info)) > racy && t.unchanged(f) {
		return false, false
	}
	hot := func(info fs.FileInfo) bool { // just written; a time in the future is wrong
		age := now.Sub(info.ModTime())
		return -time.Second < age && age < t.quiet
	}
	if late && f.writing != nil && !os.SameFile(f.writing, e.info) {
		hot = nil // the file is replaced, which is instantaneous, not written to
	}
	force := !f.busy.IsZero() && now.Sub(f.busy) >= hold
	data, info, err := read(t.open, f.path, t.size, hot, force)
	if err == nil {
		var busy fs.FileInfo
		if data, busy, err = t.withConfig(f, data, hot, force); err != nil {
			info = busy
		}
	}
	if errors.Is(err, errBusy) {
		if f.busy.IsZero() {
			f.busy = now
		}
		f.writing = info
		if late {
			return f.say(definition.Problem{File: f.path, Warning: true, Message: "is being written; it is read when the writer has finished"}), true
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
	if revision := hex.EncodeToString(sum[:]); revision != f.revision {
		f.revision, news = revision, true
	}
	if news {
		f.data = data
	}
	return news, false
}

// fail records that a file can't be read.
func (f *file) fail(err error) (changed bool) {
	p := definition.Problem{File: f.path, Message: fmt.Sprintf("can't be read: %v", reason(err))}
	switch {
	case errors.Is(err, files.ErrOutside):
		p.Message = "is a link that leads out of the definitions directory"
		p.Hint = "have --module-root name the folder that it leads to"
	case errors.Is(err, fs.ErrNotExist):
		p.Message = "is a link that leads nowhere"
	case errors.Is(err, fs.ErrPermission):
		p.Hint = "make it readable for the user that xds-server runs as"
	}
	f.revision, f.data, f.info, f.beside = "", nil, nil, nil
	return f.say(p)
}

func (f *file) say(p definition.Problem) (changed bool) {
	if f.trouble != nil && *f.trouble == p {
		return false
	}
	f.trouble = &p
	return true
}

// missing processes files that no longer exist.
func (t *table) missing(f found, present map[string]bool, fresh []fs.FileInfo, now time.Time, got *taken) {
	for rel, known := range t.files {
		if present[rel] {
			continue
		}
		if slices.ContainsFunc(f.unread, func(u unread) bool { return u.holds(rel) }) {
			got.changed = got.changed || known.removed
			known.gone, known.removed, known.unseen = time.Time{}, false, true
			continue
		}
		known.unseen = false
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
	if !slices.EqualFunc(f.unread, t.unread, func(a, b unread) bool { return a.rel == b.rel && a.problem == b.problem && a.link == b.link }) {
		t.whole, got.changed = true, true
	}
	t.unread = f.unread
}

// batches returns the batches to send. A whole batch omits what is in folders
// that can't be read, so unsent changes there are sent before it.
func (t *table) batches() []source.Batch {
	whole := t.whole || !t.begun
	t.whole, t.begun = false, true
	var all []source.Batch
	if !whole || t.unsent() {
		all = append(all, t.batch(false))
	}
	if whole {
		all = append(all, t.batch(true))
	}
	return all
}

// unsent reports whether there are unsent changes of files that are no longer
// visible.
func (t *table) unsent() bool {
	for _, f := range t.files {
		if f.unseen && f.news {
			return true
		}
	}
	return false
}

func (t *table) batch(whole bool) source.Batch {
	b := source.Batch{Source: source.Dir, Whole: whole}
	if whole {
		b.Docs = make([]source.Document, 0, len(t.files))
		for _, u := range t.unread {
			b.Unknown = append(b.Unknown, source.Unknown{Below: strings.TrimPrefix(u.rel, "."), Problem: u.problem, Slight: u.link})
		}
		if t.excess > 0 {
			b.LeftOut = &definition.Problem{Message: fmt.Sprintf("%d files are ignored: the limit is %d", t.excess, t.count)}
		}
	}
	for rel, f := range t.files {
		if whole && f.unseen || !whole && !f.news && !f.removed {
			continue
		}
		b.Docs = append(b.Docs, source.Document{
			Key: source.Key{Source: source.Dir, Name: rel}, Base: filepath.Dir(f.path), Revision: f.revision,
			Data: f.data, Gone: f.removed, Trouble: f.trouble,
		})
		f.news, f.data = false, nil
		if f.removed {
			delete(t.files, rel)
		}
	}
	return b
}

// present returns the number of files that are not removed.
func (t *table) present() int {
	n := 0
	for _, f := range t.files {
		if !f.removed {
			n++
		}
	}
	return n
}
