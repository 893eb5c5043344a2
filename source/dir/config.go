package dir

import (
	"errors"
	"fmt"
	"io/fs"

	"wasmxds/definition"
	"wasmxds/files"
)

// WithConfigFiles returns the content of a file of definitions, followed by the
// content of the configuration files that its filters name. These must be below
// the given folders.
func WithConfigFiles(name string, data []byte, below files.Roots) []byte {
	return definition.WithConfigFiles(name, data, func(path string, limit int64) ([]byte, string) {
		text, err := below.Read(path, limit)
		return text, whyMissing(err, limit)
	})
}

// whyMissing returns why a file can't be read, or "".
func whyMissing(err error, limit int64) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, files.ErrOutside):
		return "is not below the folder of definitions"
	case errors.Is(err, fs.ErrNotExist):
		return "is not there"
	case errors.Is(err, fs.ErrPermission):
		return "may not be read"
	case errors.Is(err, files.ErrNotRegular):
		return "is no regular file"
	case errors.Is(err, files.ErrTooLarge):
		return fmt.Sprintf("has more than %d bytes, the most that are read", limit)
	}
	return fmt.Sprintf("can't be read: %v", reason(err))
}

// beside is a configuration file that a file of definitions names.
type beside struct {
	path string
	info fs.FileInfo // as it was when the file was read; nil: it could not be read
}

// unchanged reports whether the files that a file names look the same as when
// they were read.
func (t *table) unchanged(f *file) bool {
	for _, b := range f.beside {
		info, err := t.stat(b.path)
		if err != nil && b.info == nil {
			continue
		}
		if err != nil || b.info == nil || !same(b.info, info) || f.readAt.Sub(changed(info)) <= racy {
			return false
		}
	}
	return true
}

// withConfig returns the content of a file, followed by that of the files that
// it names. It returns errBusy if one of them seems to be open for writing.
func (t *table) withConfig(f *file, data []byte, hot func(fs.FileInfo) bool, force bool) ([]byte, fs.FileInfo, error) {
	f.beside = nil
	var busy fs.FileInfo
	data = definition.WithConfigFiles(f.path, data, func(path string, limit int64) ([]byte, string) {
		text, info, err := read(t.config, path, limit, hot, force)
		if errors.Is(err, errBusy) {
			busy = info
		}
		if err != nil {
			info, _ = t.stat(path)
		}
		f.beside = append(f.beside, beside{path, info})
		return text, whyMissing(err, limit)
	})
	if busy != nil {
		return nil, busy, errBusy
	}
	return data, nil, nil
}
