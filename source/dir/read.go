package dir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// errBusy means that a file seems to be open for writing.
var errBusy = errors.New("being written")

// read returns the whole content of a file at one moment, and its info at that
// time. It returns errBusy for a file that is hot (nil: none is), that is open
// for writing, or that changes while it is read. With force, it returns the
// content nevertheless.
func read(open func(string) (*os.File, fs.FileInfo, error), path string, limit int64, hot func(fs.FileInfo) bool, force bool) ([]byte, fs.FileInfo, error) {
	f, info, err := open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if !force && (hot != nil && hot(info) || beingWritten(f)) {
		return nil, info, errBusy
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, info, err
	}
	if int64(len(data)) > limit {
		return nil, info, fmt.Errorf("larger than %d bytes, the most that is read", limit)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, info, err
	}
	if !force && (!same(info, after) || after.Size() != int64(len(data))) {
		return nil, info, errBusy
	}
	return data, after, nil
}

// same reports whether a file is unchanged between two infos.
func same(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && changed(a).Equal(changed(b)) && os.SameFile(a, b)
}
