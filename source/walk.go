package source

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"wasmxds/definition"
)

// maxDepth is how deep folders are followed.
const maxDepth = 32

// maxWalks is how often the tree is walked until its folders stay the same.
// What changes later is told again.
const maxWalks = 3

// found is what a walk came by.
type found struct {
	files  []entry
	unread []unread
}

// unread is a folder of which nobody can say what is in it.
type unread struct {
	dir     string // its path
	rel     string // as in entry; "." is the root itself
	err     error
	problem definition.Problem
	// link: it is a link that leads nowhere, and would not be worth a word if
	// there never was a definition below it.
	link bool
}

// entry is a file of definitions.
type entry struct {
	rel  string      // slash-separated path below the root
	path string      // as it is given to Parse
	info fs.FileInfo // of the file that a link leads to
	err  error       // why there is no info
}

// holds says whether a file may be in the folder.
func (u *unread) holds(rel string) bool {
	return u.rel == "." || strings.HasPrefix(rel, u.rel+"/")
}

// path is that of a file that it may hold.
func (u *unread) path(rel string) string {
	return filepath.Join(u.dir, filepath.FromSlash(strings.TrimPrefix(rel, u.rel+"/")))
}

// Files finds the files of definitions in a directory and below, as a
// [Directory] of that path would at this moment. The error is about the first
// folder that can't be read.
func Files(dir string) ([]string, error) {
	found := walk(dir, &watch{log: slog.New(slog.DiscardHandler), dirs: map[string]*interest{}})
	for _, u := range found.unread {
		if !u.link {
			return nil, fmt.Errorf("read folder %s: %w", u.dir, reason(u.err))
		}
	}
	files := make([]string, len(found.files))
	for i, f := range found.files {
		files[i] = f.path
	}
	return files, nil
}

// walker goes through the tree and watches what it comes by.
type walker struct {
	watch *watch
	found found
}

// walk finds the files of definitions in a directory and below. It follows
// symbolic links, as Kubernetes mounts files and folders.
func walk(root string, w *watch) (found found) {
	for range maxWalks {
		v := walker{watch: w}
		w.begin()
		v.links(root)
		v.folder(root, ".", nil)
		if !w.finish() {
			return v.found
		}
		found = v.found
	}
	return found
}

func (v *walker) links(path string) {
	for _, p := range trail(path) {
		v.watch.place(p)
	}
}

func (v *walker) unread(path, rel string, err error) {
	v.found.unread = append(v.found.unread, unread{path, rel, err, unreadable(path, err), false})
}

func (v *walker) folder(path, rel string, above []fs.FileInfo) {
	info, err := os.Stat(path)
	if err != nil {
		v.unread(path, rel, err)
		return
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			return // a link to a folder that it is in
		}
	}
	if len(above) >= maxDepth {
		v.unread(path, rel, fmt.Errorf("more than %d folders deep", maxDepth))
		return
	}
	real, err := filepath.EvalSymlinks(path)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		v.unread(path, rel, err)
		return
	}
	v.watch.dir(real)
	entries, err := os.ReadDir(path)
	if err != nil {
		v.unread(path, rel, err)
	}
	above = append(above[:len(above):len(above)], info)
	for _, e := range entries {
		if !hidden(e.Name()) {
			v.entry(e, filepath.Join(path, e.Name()), filepath.ToSlash(filepath.Join(rel, e.Name())), above)
		}
	}
}

func (v *walker) entry(e fs.DirEntry, path, rel string, above []fs.FileInfo) {
	if e.IsDir() {
		v.folder(path, rel, above)
		return
	}
	link := e.Type()&fs.ModeSymlink != 0
	if !link && !isDefinitions(e.Name()) {
		return
	}
	if link {
		v.links(path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		v.folder(path, rel, above)
	case !isDefinitions(e.Name()):
		if err != nil {
			v.found.unread = append(v.found.unread, unread{path, rel, err, unreadable(path, err), true})
		}
	case err != nil && !link && errors.Is(err, fs.ErrNotExist):
		// Gone since the folder was read.
	default:
		v.found.files = append(v.found.files, entry{rel: rel, path: path, info: info, err: err})
	}
}

// isDefinitions says whether a file of this name holds definitions.
func isDefinitions(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// unreadable is the problem with a folder that keeps its definitions because
// nobody can say what has become of them.
func unreadable(path string, err error) definition.Problem {
	p := definition.Problem{File: path, Message: fmt.Sprintf("can't read this folder: %v; its definitions stay as they were", reason(err))}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.Hint = "to remove all definitions, leave the folder there and empty it"
	case errors.Is(err, fs.ErrPermission):
		p.Hint = "xds-server needs the right to read and enter it"
	case errors.Is(err, syscall.ENOTDIR):
		p.Hint = "name the folder that the definitions are in, not one file"
	}
	return p
}

// reason leaves out what a file system error says of operation and path.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
