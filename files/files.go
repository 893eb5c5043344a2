// Package files opens files by names that others chose: in flags, and in
// definitions, whose authors may have less access than xds-server.
//
// Start with [Open], which opens regular files and nothing else, or with
// [Roots], which opens those below some folders alone. Neither waits: not for a
// named pipe's writer, not for a terminal's user.
package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// ErrNotRegular is in errors about devices, named pipes, sockets and folders.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge is in errors about files of more bytes than are read.
var ErrTooLarge = errors.New("too large")

// flags open without waiting, and make no terminal this process' own.
const flags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// Open opens a regular file for reading, and says what it is like.
func Open(name string) (*os.File, fs.FileInfo, error) {
	return open(name, func() (fs.FileInfo, error) { return os.Stat(name) },
		func() (*os.File, error) { return os.OpenFile(name, flags, 0) })
}

// open looks before it opens, since to open a device may do something (a
// watchdog is started by it), and again at what was opened.
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

// Read gives what is in a regular file, if that is at most limit bytes.
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
