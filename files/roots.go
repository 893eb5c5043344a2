package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Roots are folders below which files may be opened. Links are followed if
// their target is below a root. A root itself may be a link, and may be
// replaced at any time. The zero value contains nothing.
type Roots struct{ dirs []string }

// NewRoots returns the Roots of some folders, which need not exist yet.
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

// ErrOutside is the error for a path that is not below a root. It does not
// reveal whether the path exists.
var ErrOutside = errors.New("outside of the folders that files may be in")

// String returns the folders, separated by commas.
func (r Roots) String() string { return strings.Join(r.dirs, ", ") }

// Real returns the path that a name resolves to, without links.
func (r Roots) Real(name string) (string, error) {
	real, _, err := r.find(name)
	return real, err
}

// find returns the real path that a name resolves to, and that of its root.
func (r Roots) find(name string) (real, root string, err error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return "", "", err
	}
	real, err = filepath.EvalSymlinks(abs)
	at := real
	if err != nil {
		// Return why a path can't be resolved only if the path is below a root.
		e, ok := errors.AsType[*fs.PathError](err)
		if !ok { // too many links
			return "", "", &fs.PathError{Op: "open", Path: name, Err: err}
		}
		at = e.Path
	}
	for _, dir := range r.dirs {
		if root, rootErr := filepath.EvalSymlinks(dir); rootErr == nil && Below(at, root) {
			return real, root, err
		} else if err != nil && Below(at, dir) { // the root itself can't be resolved
			return "", "", err
		}
	}
	return "", "", &fs.PathError{Op: "open", Path: name, Err: ErrOutside}
}

// Below reports whether a path is that of a folder, or below it. It compares
// only the paths.
func Below(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// Open opens a regular file below one of the roots. A link that is created
// meanwhile can't lead it outside.
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

// Stat returns the info of a file below one of the roots.
func (r Roots) Stat(name string) (info fs.FileInfo, err error) {
	err = r.within("stat", name, func(root *os.Root, rel string) (err error) {
		info, err = root.Stat(rel)
		return err
	})
	return info, err
}

// Read is like the function Read, for files below one of the roots.
func (r Roots) Read(name string, limit int64) ([]byte, error) {
	f, _, err := r.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, limit)
}

// within calls do with the path of name relative to its root. Errors contain
// the given name.
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

// named replaces the path in a file system error with the given name.
func named(err error, op, name string) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return &fs.PathError{Op: op, Path: name, Err: e.Err}
	}
	return err
}
