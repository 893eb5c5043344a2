package main

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// archive is a .tar.gz that has nothing of the machine it was made on. The
// first error stays, and is what close returns.
type archive struct {
	file *os.File
	gzip *gzip.Writer
	tar  *tar.Writer
	top  string // the folder that all is in
	time time.Time
	err  error
}

func newArchive(name, top string, modified time.Time) (*archive, error) {
	file, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	zip := gzip.NewWriter(file)
	return &archive{file: file, gzip: zip, tar: tar.NewWriter(zip), top: top, time: modified}, nil
}

// add puts a file in under a name.
func (a *archive) add(from, name string, mode int64) {
	if a.err != nil {
		return
	}
	var content []byte
	if content, a.err = os.ReadFile(from); a.err != nil {
		return
	}
	a.err = a.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: path.Join(a.top, name), Size: int64(len(content)),
		Mode: mode, ModTime: a.time, Format: tar.FormatUSTAR,
	})
	if a.err == nil {
		_, a.err = a.tar.Write(content)
	}
}

// addAll puts a folder's files in, by name.
func (a *archive) addAll(dir string) {
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err == nil {
			a.add(file, filepath.ToSlash(name), 0o644)
		}
		return err
	})
	if a.err == nil {
		a.err = err
	}
}

func (a *archive) close() error {
	for _, c := range []io.Closer{a.tar, a.gzip, a.file} {
		if err := c.Close(); a.err == nil {
			a.err = err
		}
	}
	return a.err
}
