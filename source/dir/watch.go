package dir

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/fsnotify/fsnotify"
)

// notifier tells of changes in the directories it was given.
type notifier struct {
	events <-chan fsnotify.Event
	errors <-chan error
	add    func(dir string) error
	remove func(dir string) error
	close  func() error
}

func inotify() (*notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{w.Events, w.Errors, w.Add, w.Remove, w.Close}, nil
}

// watch keeps the notifier on the directories that the last walk came by.
// Events are no more than hints that something is to be looked at; what there
// is comes from walking the tree. It is used by one goroutine.
type watch struct {
	*notifier // nil: there is none, look from time to time
	log       *slog.Logger
	dirs      map[string]*interest // by real path
	walking   map[string]*interest // those of the walk under way
	short     bool                 // not every directory could be watched
	warned    bool                 // and that was said
}

// interest is what matters in a watched directory.
type interest struct {
	info  fs.FileInfo     // of the directory; nil: it is not there
	all   bool            // every name that is not hidden
	names map[string]bool // these, hidden or not
}

func newWatch(open func() (*notifier, error), log *slog.Logger) *watch {
	w := &watch{log: log, dirs: map[string]*interest{}}
	n, err := open()
	if err != nil {
		log.Warn("can't watch files: looks for changes from time to time", "error", err)
		return w
	}
	w.notifier = n
	return w
}

// complete says whether every change is told.
func (w *watch) complete() bool { return w.notifier != nil && !w.short }

func (w *watch) changes() (<-chan fsnotify.Event, <-chan error) {
	if w.notifier == nil {
		return nil, nil
	}
	return w.events, w.errors
}

func (w *watch) end() {
	if w.notifier == nil {
		return
	}
	if err := w.close(); err != nil {
		w.log.Warn("close file watches", "error", err)
	}
}

// begin starts a walk: from here on every directory that matters is named
// again by dir or place.
func (w *watch) begin() {
	w.walking = map[string]*interest{}
	w.warned, w.short = w.short, false
}

// dir watches all that is not hidden in a directory, given by its real path.
// It is to be called before the directory is read, so that nothing is missed
// between the two.
func (w *watch) dir(real string) { w.at(real).all = true }

// place watches one name.
func (w *watch) place(p place) { w.at(p.dir).names[p.name] = true }

// at gives the interest in a directory. The first time in a walk it adds the
// directory even if it was watched before: it may be another one of the same
// name by now. To the kernel that costs next to nothing.
func (w *watch) at(dir string) *interest {
	if in := w.walking[dir]; in != nil {
		return in
	}
	in := &interest{names: map[string]bool{}}
	in.info, _ = os.Stat(dir)
	w.walking[dir] = in
	if w.notifier == nil {
		return in
	}
	if err := w.add(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.short = true
		if !w.warned {
			w.warned = true
			w.log.Warn("can't watch every folder: looks for changes from time to time", "folder", dir, "error", err)
		}
	}
	return in
}

// finish ends a walk, gives up what it did not come by, and says whether the
// directories are others than in the walk before. Then the tree must be walked
// once more: of a folder that was moved, fsnotify knows only the old path, and
// giving that up ends the watch of the new one, too.
func (w *watch) finish() (moved bool) {
	moved = len(w.dirs) != len(w.walking)
	for dir, was := range w.dirs {
		is := w.walking[dir]
		if is == nil && w.notifier != nil {
			// An error says that it is gone already.
			_ = w.remove(dir)
		}
		if is == nil || (is.info == nil) != (was.info == nil) || is.info != nil && !os.SameFile(is.info, was.info) {
			moved = true
		}
	}
	w.dirs, w.walking = w.walking, nil
	return moved && w.notifier != nil
}

// concerns says whether an event can have to do with definitions.
func (w *watch) concerns(ev fsnotify.Event) bool {
	if w.dirs[ev.Name] != nil {
		return true
	}
	in := w.dirs[filepath.Dir(ev.Name)]
	if in == nil {
		return true // a folder by another name: better once too often
	}
	name := filepath.Base(ev.Name)
	return in.names[name] || in.all && !hidden(name)
}

// hidden says whether a file or folder of this name is passed over: editors'
// swap and backup files, version control, Kubernetes' "..data".
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")
}
