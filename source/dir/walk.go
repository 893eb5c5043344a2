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

// maxDepth is how deep folders are followed.
const maxDepth = 32

// How much of a tree is looked at: folders that are nearer to the root first, so
// that a huge one below, or links from folder to folder, keep nothing above
// from being seen.
const (
	maxFolders = 2_000
	maxEntries = 100_000
	maxLinked  = 3_000 // links, which cost most
)

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

// Files finds the files of definitions in a directory and below, as a
// [Directory] of that path and Roots would at this moment. The error is about the first
// folder that can't be read.
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

// walker goes through the tree and watches what it comes by.
type walker struct {
	watch *watch
	roots files.Roots
	found found

	folders         []folder // still to be looked at
	looked, entries int      // so far
	linked          int
	full            bool // more than are looked at, and that was said
}

// folder is one that a walk came by.
type folder struct {
	path, rel string
	above     []fs.FileInfo // the folders that it was come by through
}

// walk finds the files of definitions in a directory and below. It follows
// symbolic links, as Kubernetes mounts files and folders, where they lead to
// what is below one of the roots.
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
		// Said once; of the others that hold definitions, too.
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
		// Gone since the folder was read.
	default:
		v.found.files = append(v.found.files, entry{rel: rel, path: path, info: info, err: err})
	}
}

// readDir reads at most so many entries of a folder, by name; with an error if
// there are more.
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
		entries, err = entries[:most], fmt.Errorf("more than %d entries, with those of the folders around it", maxEntries)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
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

// reason leaves out what a file system error says of operation and path.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
