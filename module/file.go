package module

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
)

const (
	// quiet is how long a file must be unchanged before it is read. It is
	// longer than that of definitions, so that a definition that is written
	// right after its module is processed first, and both take effect together.
	quiet    = 20 * time.Millisecond
	restless = 2 * time.Second // maximum time to wait for quiet
)

// moduleFiles fetches modules from file URLs. The ETag of a file is derived
// from its info, so that an unchanged file is never read again.
type moduleFiles struct {
	roots *files.Roots // nil: files may be anywhere
	what  string       // "module", or another description of the content for messages
}

func (m moduleFiles) Fetch(ctx context.Context, request Request) (*Response, error) {
	path, err := filePath(request.URL)
	if err != nil {
		return nil, err
	}
	response, err := m.fetch(ctx, path, request.Known)
	switch {
	case errors.Is(err, files.ErrOutside):
		return nil, &ContentError{
			Message: fmt.Sprintf("%s file: %s is outside of %v", m.what, path, m.roots),
			Hint:    "move it there, or set --module-root to its folder",
		}
	case errors.Is(err, files.ErrNotRegular):
		return nil, &ContentError{Message: m.what + " file: " + path + " is not a regular file"}
	case err != nil:
		return nil, fmt.Errorf("%s file: %w", m.what, err)
	}
	return response, nil
}

func (m moduleFiles) fetch(ctx context.Context, path string, known Validators) (*Response, error) {
	stat, err := m.stat(path)
	if err != nil {
		return nil, err
	}
	if fileTag(stat) == known.ETag {
		return &Response{Validators: known}, nil
	}
	if stat, err = m.waitQuiet(ctx, path, stat); err != nil {
		return nil, err
	}
	f, _, err := m.open(path)
	if err != nil {
		return nil, err
	}
	return &Response{Body: &steady{File: f, what: m.what, path: path, stat: stat}, Validators: Validators{ETag: fileTag(stat)}}, nil
}

func (m moduleFiles) stat(path string) (fs.FileInfo, error) {
	if m.roots == nil {
		return os.Stat(path)
	}
	return m.roots.Stat(path)
}

func (m moduleFiles) open(path string) (*os.File, fs.FileInfo, error) {
	if m.roots == nil {
		return files.Open(path)
	}
	return m.roots.Open(path)
}

// waitQuiet waits until nobody seems to be writing the file.
func (m moduleFiles) waitQuiet(ctx context.Context, path string, stat fs.FileInfo) (fs.FileInfo, error) {
	for start := time.Now(); ; {
		age := time.Since(stat.ModTime())
		if age >= quiet || age < 0 || time.Since(start) > restless {
			return stat, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(quiet - age):
		}
		var err error
		if stat, err = m.stat(path); err != nil {
			return nil, err
		}
	}
}

// steady is a file whose reads fail if it changes meanwhile.
type steady struct {
	*os.File
	what string
	path string
	stat fs.FileInfo
}

var errUnsteady = errors.New("the file changes while it is being read")

func (s *steady) Read(p []byte) (int, error) {
	n, err := s.File.Read(p)
	if err == io.EOF {
		now, statErr := s.Stat()
		switch {
		case statErr != nil:
			err = statErr
		case fileTag(now) != fileTag(s.stat):
			err = fmt.Errorf("%s file: %s: %w", s.what, s.path, errUnsteady)
		}
	}
	return n, err
}

// WriteTo hides that of os.File, which would bypass Read.
func (s *steady) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{s})
}

func fileTag(stat fs.FileInfo) string {
	return fmt.Sprintf("%s-%d-%d", inode(stat), stat.Size(), stat.ModTime().UnixNano())
}

// filePath returns the path of a file URL.
func filePath(url string) (string, error) {
	path, ok := definition.Module{URL: url}.Path()
	if !ok || path == "" {
		return "", &ContentError{
			Message: fmt.Sprintf("module file: %q is not the URL of a local file", url),
			Hint:    "write file:///absolute/path, or a path relative to the definition",
		}
	}
	return filepath.Clean(path), nil
}
