package module

import (
	"log/slog"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// fileWatcher signals that files may have changed. This is only a hint: users
// of it also poll.
type fileWatcher struct {
	notify *fsnotify.Watcher // nil: not available, only polling
	log    *slog.Logger

	mu      sync.Mutex
	dirs    map[string]map[*fileWatch]bool
	watched map[string]bool // folders that are watched
}

// fileWatch is one watched file.
type fileWatch struct {
	path    string
	changed func() // must not block
}

func newFileWatcher(log *slog.Logger) *fileWatcher {
	w := &fileWatcher{log: log, dirs: map[string]map[*fileWatch]bool{}, watched: map[string]bool{}}
	var err error
	if w.notify, err = fsnotify.NewWatcher(); err != nil {
		log.Warn("can't watch module files: checking them every second instead", "error", err)
	}
	return w
}

// run handles events until the watcher is closed.
func (w *fileWatcher) run() {
	if w.notify == nil {
		return
	}
	for {
		select {
		case event, ok := <-w.notify.Events:
			if !ok {
				return
			}
			w.tell(event)
		case err, ok := <-w.notify.Errors:
			if !ok {
				return
			}
			w.log.Warn("watching module files", "error", err)
		}
	}
}

func (w *fileWatcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}

// add watches a file by its folder, since files are often replaced. Adding a
// file again renews the watch.
func (w *fileWatcher) add(f *fileWatch) {
	dir := filepath.Dir(f.path)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirs[dir] == nil {
		w.dirs[dir] = map[*fileWatch]bool{}
	}
	w.dirs[dir][f] = true
	if w.notify != nil && !w.watched[dir] {
		// If the folder doesn't exist yet, the next poll tries again.
		w.watched[dir] = w.notify.Add(dir) == nil
	}
}

func (w *fileWatcher) remove(f *fileWatch) {
	dir := filepath.Dir(f.path)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.dirs[dir], f)
	if len(w.dirs[dir]) == 0 {
		delete(w.dirs, dir)
		delete(w.watched, dir)
		if w.notify != nil {
			_ = w.notify.Remove(dir) // it may be gone
		}
	}
}

// tell signals the watches of a file. A folder whose "..data" link is swapped
// (as Kubernetes does) has changed as a whole, as has one that was removed.
func (w *fileWatcher) tell(event fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		delete(w.watched, event.Name)
		for f := range w.dirs[event.Name] {
			f.changed()
		}
	}
	for f := range w.dirs[filepath.Dir(event.Name)] {
		if f.path == event.Name || strings.HasPrefix(filepath.Base(event.Name), "..") {
			f.changed()
		}
	}
}
