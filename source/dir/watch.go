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

// notifier reports changes in directories.
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

// watch keeps the notifier on the directories that the last walk visited.
// Events are only hints to walk the tree, which shows the actual content. It is
// used by one goroutine.
type watch struct {
	*notifier // nil: there are no events, only polling
	log       *slog.Logger
	dirs      map[string]*interest // by real path
	walking   map[string]*interest // those of the walk in progress
	short     bool                 // some directories could not be watched
	warned    bool                 // short was reported
}

// interest is what is relevant in a watched directory.
type interest struct {
	info  fs.FileInfo     // of the directory; nil: it does not exist
	all   bool            // every name that is not hidden
	names map[string]bool // these, hidden or not
}

func newWatch(open func() (*notifier, error), log *slog.Logger) *watch {
	w := &watch{log: log, dirs: map[string]*interest{}}
	n, err := open()
	if err != nil {
		log.Warn("can't watch files: polling for changes instead", "error", err)
		return w
	}
	w.notifier = n
	return w
}

// complete reports whether every change causes an event.
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

// begin starts a walk, in which dir and place name every relevant directory
// again.
func (w *watch) begin() {
	w.walking = map[string]*interest{}
	w.warned, w.short = w.short, false
}

// dir watches everything that is not hidden in a directory, given by its real
// path. It must be called before the directory is read, so that no change in
// between is missed.
func (w *watch) dir(real string) { w.at(real).all = true }

// place watches one name.
func (w *watch) place(p place) { w.at(p.dir).names[p.name] = true }

// at returns the interest in a directory. On its first call in a walk, it adds
// the directory to the notifier even if it was watched before, because it may
// have been replaced by another one of the same name. This costs the kernel
// next to nothing.
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
			w.log.Warn("can't watch every folder: polling for changes instead", "folder", dir, "error", err)
		}
	}
	return in
}

// finish ends a walk, stops watching what it did not visit, and reports whether
// the directories differ from those of the previous walk. If so, the tree must
// be walked again: fsnotify knows a folder that was moved only by its old path,
// and removing that also ends the watch of the new one.
func (w *watch) finish() (moved bool) {
	moved = len(w.dirs) != len(w.walking)
	for dir, was := range w.dirs {
		is := w.walking[dir]
		if is == nil && w.notifier != nil {
			// An error means that it is gone already.
			_ = w.remove(dir)
		}
		if is == nil || (is.info == nil) != (was.info == nil) || is.info != nil && !os.SameFile(is.info, was.info) {
			moved = true
		}
	}
	w.dirs, w.walking = w.walking, nil
	return moved && w.notifier != nil
}

// concerns reports whether an event may affect definitions.
func (w *watch) concerns(ev fsnotify.Event) bool {
	if w.dirs[ev.Name] != nil {
		return true
	}
	in := w.dirs[filepath.Dir(ev.Name)]
	if in == nil {
		return true // a folder under another name: an extra walk is harmless
	}
	name := filepath.Base(ev.Name)
	return in.names[name] || in.all && !hidden(name)
}

// hidden reports whether a file or folder of this name is ignored: editors'
// swap and backup files, version control, Kubernetes' "..data".
func hidden(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")
}
