// Package files opens files by names that others chose: in flags, and in
// definitions, whose authors may have less access than xds-server.
//
// Start with [Open], which opens only regular files, or with [Roots], which
// opens only files below some folders. Neither blocks, for example on a named
// pipe or a terminal.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is the error for devices, named pipes, sockets and folders.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is the error for files that are larger than the limit.
var ErrTooLarge = errors.New("too large")

// flags open a file without blocking, and without making a terminal the
// controlling one.
const flags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// Open opens a regular file for reading, and returns its info.
func Open(name string) (*os.File, fs.FileInfo, error) {
	return open(name, func() (fs.FileInfo, error) { return os.Stat(name) },
		func() (*os.File, error) { return os.OpenFile(name, flags, 0) })
}

// open checks a file before it opens it, because opening a device may have side
// effects (such as starting a watchdog), and checks what it has opened.
func open(name string, stat func() (fs.FileInfo, error), open func() (*os.File, error)) (*os.File, fs.FileInfo, error) {
	info, err := stat()
	if err != nil {
		return nil, nil, named(err, "open", name)
	}
	if err := regular(name, info); err != nil {
		return nil, nil, err
	}
	f, err := open()
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil {
		err = regular(name, info)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func regular(name string, info fs.FileInfo) error {
	if info.Mode().IsRegular() {
		return nil
	}
	return &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
}

// Read returns the content of a regular file of at most limit bytes.
func Read(name string, limit int64) ([]byte, error) {
	f, _, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, name, limit)
}

func readAll(f *os.File, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = &fs.PathError{Op: "read", Path: name, Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)}
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}
