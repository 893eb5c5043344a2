package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"wasmxds/definition"
	"wasmxds/files"
)

// maxDepth bounds the depth of folders.
const maxDepth = 32

// Bounds of a walk. Folders nearer to the root come first, so that a huge
// folder below, or links between folders, do not hide anything above.
const (
	maxFolders = 2_000
	maxEntries = 100_000
	maxLinked  = 3_000 // links, which are the most expensive
)

// maxWalks bounds how often the tree is walked until its folders stay the same.
// Later changes cause another event.
const maxWalks = 3

// found is the result of a walk.
type found struct {
	files  []entry
	unread []unread
}

// unread is a folder whose content is unknown.
type unread struct {
	dir     string // its path
	rel     string // as in entry; "." is the root
	err     error
	problem definition.Problem
	// link: the folder is a dangling link, which is not reported if no
	// definition was ever below it.
	link bool
}

// entry is a file of definitions.
type entry struct {
	rel  string      // slash-separated path, relative to the root
	path string      // as passed to Parse
	info fs.FileInfo // of the file that a link leads to
	err  error       // why info is nil
}

// holds reports whether a file may be in the folder.
func (u *unread) holds(rel string) bool {
	return u.rel == "." || strings.HasPrefix(rel, u.rel+"/")
}

// Files returns the files of definitions in a directory and below, as a
// [Directory] with this path and Roots finds them at the moment. The error is
// that of the first folder that can't be read.
func Files(dir string, roots ...string) ([]string, error) {
	within, err := files.NewRoots(append([]string{dir}, roots...)...)
	if err != nil {
		return nil, err
	}
	found := walk(dir, within, &watch{log: slog.New(slog.DiscardHandler), dirs: map[string]*interest{}})
	for _, u := range found.unread {
		if !u.link {
			return nil, fmt.Errorf("read folder %s: %w", u.dir, reason(u.err))
		}
	}
	names := make([]string, len(found.files))
	for i, f := range found.files {
		names[i] = f.path
	}
	return names, nil
}

// walker walks the tree and watches what it visits.
type walker struct {
	watch *watch
	roots files.Roots
	found found

	folders         []folder // folders left to visit
	looked, entries int      // so far
	linked          int
	full            bool // a bound was exceeded, and reported
}

// folder is a folder to visit.
type folder struct {
	path, rel string
	above     []fs.FileInfo // the folders through which it was reached
}

// walk finds the files of definitions in a directory and below. It follows
// symbolic links, which Kubernetes uses to mount files and folders, if they
// lead below one of the roots.
func walk(root string, roots files.Roots, w *watch) (found found) {
	for range maxWalks {
		v := walker{watch: w, roots: roots, folders: []folder{{root, ".", nil}}}
		w.begin()
		v.links(root)
		for len(v.folders) > 0 {
			next := v.folders[0]
			v.folders = v.folders[1:]
			v.folder(next.path, next.rel, next.above)
		}
		slices.SortStableFunc(v.found.files, func(a, b entry) int { return strings.Compare(a.rel, b.rel) })
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
	if v.looked >= maxFolders || v.entries >= maxEntries || v.linked >= maxLinked {
		// Reported once, and for other folders only if they had definitions.
		err := fmt.Errorf("there are more than %d folders, %d links, or %d entries", maxFolders, maxLinked, maxEntries)
		v.found.unread = append(v.found.unread, unread{path, rel, err, unreadable(path, err), v.full})
		v.full = true
		return
	}
	v.looked++
	info, err := os.Stat(path)
	if err != nil {
		v.unread(path, rel, err)
		return
	}
	for _, a := range above {
		if os.SameFile(a, info) {
			return // a link to a folder that contains it
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
	entries, err := readDir(path, maxEntries-v.entries)
	if err != nil {
		v.unread(path, rel, err)
	}
	v.entries += len(entries)
	above = append(above[:len(above):len(above)], info)
	for _, e := range entries {
		if !hidden(e.Name()) {
			v.entry(e, filepath.Join(path, e.Name()), filepath.ToSlash(filepath.Join(rel, e.Name())), above)
		}
	}
}

func (v *walker) entry(e fs.DirEntry, path, rel string, above []fs.FileInfo) {
	if e.IsDir() {
		v.folders = append(v.folders, folder{path, rel, above})
		return
	}
	link := e.Type()&fs.ModeSymlink != 0
	if !link && !isDefinitions(e.Name()) {
		return
	}
	if link {
		v.linked++
		if _, err := v.roots.Real(path); errors.Is(err, files.ErrOutside) {
			if isDefinitions(e.Name()) {
				v.found.files = append(v.found.files, entry{rel: rel, path: path, err: err})
			} else {
				v.unread(path, rel, err)
			}
			return
		}
		v.links(path)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		v.folders = append(v.folders, folder{path, rel, above})
	case !isDefinitions(e.Name()):
		if err != nil {
			v.found.unread = append(v.found.unread, unread{path, rel, err, unreadable(path, err), true})
		}
	case err != nil && !link && errors.Is(err, fs.ErrNotExist):
		// Removed since the folder was read.
	default:
		v.found.files = append(v.found.files, entry{rel: rel, path: path, info: info, err: err})
	}
}

// readDir returns at most the given number of entries of a folder, by name. If
// there are more, it also returns an error.
func readDir(path string, most int) ([]fs.DirEntry, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(most + 1)
	if errors.Is(err, io.EOF) {
		err = nil // it is empty
	}
	if len(entries) > most {
		entries, err = entries[:most], fmt.Errorf("more than %d entries, including those of the folders around it", maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// isDefinitions reports whether a file of this name holds definitions.
func isDefinitions(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// unreadable returns the problem with a folder that can't be read, and whose
// definitions therefore stay unchanged.
func unreadable(path string, err error) definition.Problem {
	p := definition.Problem{File: path, Message: fmt.Sprintf("can't read this folder: %v; its definitions stay as they were", reason(err))}
	switch {
	case errors.Is(err, files.ErrOutside):
		p.Message = "is a link that leads out of the definitions directory; its definitions stay as they were"
		p.Hint = "have --module-root name the folder that it leads to"
	case errors.Is(err, fs.ErrNotExist):
		p.Hint = "to remove all definitions, leave the folder there and empty it"
	case errors.Is(err, fs.ErrPermission):
		p.Hint = "xds-server needs the right to read and enter it"
	case errors.Is(err, syscall.ENOTDIR):
		p.Hint = "name the folder that the definitions are in, not one file"
	}
	return p
}

// reason removes the operation and the path from a file system error.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
