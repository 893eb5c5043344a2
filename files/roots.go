package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Roots are folders: what is below one of them may be opened, by links as well
// as long as they lead to what is below one. A root itself may be a link, and
// be replaced at any time. The zero value holds nothing.
type Roots struct{ dirs []string }

// NewRoots gives the Roots of some folders, which need not be there yet.
func NewRoots(dirs ...string) (Roots, error) {
	var r Roots
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Roots{}, err
		}
		r.dirs = append(r.dirs, abs)
	}
	return r, nil
}

// ErrOutside is in errors about what is not below a root. They don't tell
// whether there is something by that name.
var ErrOutside = errors.New("outside of the folders that files may be in")

// String names the folders.
func (r Roots) String() string { return strings.Join(r.dirs, ", ") }

// Real gives the path that a name leads to in the end, without a link in it.
func (r Roots) Real(name string) (string, error) {
	real, _, err := r.find(name)
	return real, err
}

// find gives the real path that a name leads to, and that of its root.
func (r Roots) find(name string) (real, root string, err error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", "", err
	}
	real, err = filepath.EvalSymlinks(abs)
	at := real
	if err != nil {
		// What can't be looked at is told only where it may be looked at.
		e, ok := errors.AsType[*fs.PathError](err)
		if !ok { // too many links
			return "", "", &fs.PathError{Op: "open", Path: name, Err: err}
		}
		at = e.Path
	}
	for _, dir := range r.dirs {
		if root, rootErr := filepath.EvalSymlinks(dir); rootErr == nil && Below(at, root) {
			return real, root, err
		} else if err != nil && Below(at, dir) { // the root itself can't be looked at
			return "", "", err
		}
	}
	return "", "", &fs.PathError{Op: "open", Path: name, Err: ErrOutside}
}

// Below says whether a path is that of a folder, or below it. It looks at the
// paths alone.
func Below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// Open opens a regular file below one of the roots. No link that is put in its
// way meanwhile leads it out of there.
func (r Roots) Open(name string) (*os.File, fs.FileInfo, error) {
	var f *os.File
	var info fs.FileInfo
	err := r.within("open", name, func(root *os.Root, rel string) (err error) {
		f, info, err = open(name, func() (fs.FileInfo, error) { return root.Stat(rel) },
			func() (*os.File, error) { return root.OpenFile(rel, flags, 0) })
		return err
	})
	return f, info, err
}

// Stat says what is below one of the roots.
func (r Roots) Stat(name string) (info fs.FileInfo, err error) {
	err = r.within("stat", name, func(root *os.Root, rel string) (err error) {
		info, err = root.Stat(rel)
		return err
	})
	return info, err
}

// Read is the package's Read, below one of the roots.
func (r Roots) Read(name string, limit int64) ([]byte, error) {
	f, _, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, limit)
}

// within has something done with a name as seen from its root. Errors have the
// name as it was given.
func (r Roots) within(op, name string, do func(root *os.Root, rel string) error) error {
	real, dir, err := r.find(name)
	if err != nil {
		return named(err, op, name)
	}
	rel, err := filepath.Rel(dir, real)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return named(err, op, name)
	}
	defer root.Close()
	return named(do(root, rel), op, name)
}

// named gives an error of the file system the name that people know.
func named(err error, op, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: op, Path: name, Err: e.Err}
	}
	return err
}
