package module

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

const (
	storeExt   = ".wasm"
	tempPrefix = ".incoming-"
)

// Store keeps modules in a directory, in files that are named by the SHA-256 of
// their content. A name never has two meanings, so no file is overwritten. It
// is safe for concurrent use. Only one process at a time may write to a
// directory.
type Store struct {
	dir string

	verifying singleflight.Group
	mu        sync.Mutex              // also held while a name gets a file, or loses it
	verified  map[string]verifiedFile // by sha256
	filling   sync.Mutex              // ensures that Small reads a module once
}

// verifiedFile is a verified module, with the state of its file at the time.
type verifiedFile struct {
	info     Info
	wants    Wants
	modified time.Time
	used     time.Time
	content  []byte // see Small; nil: not in memory
}

// ErrCorrupt is the error for modules whose file no longer has the content of
// its name. The file has been removed.
var ErrCorrupt = errors.New("module in the store is corrupt, removed")

// Open opens the store in a directory, and creates the directory if necessary.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open module store: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("open module store: %w", err)
	}
	for _, name := range left { // left by a process that was killed
		if err := os.Remove(name); err != nil {
			return nil, fmt.Errorf("open module store: %w", err)
		}
	}
	return &Store{dir: dir, verified: map[string]verifiedFile{}}, nil
}

// Put stores the content of r, at most limit bytes, if it is a module that
// Envoy can run. It stores it completely or not at all, even if the machine
// crashes. If the content is no such module, Put returns a [*ContentError].
func (s *Store) Put(r io.Reader, limit int64) (Info, error) { return s.put(r, limit, "") }

// PutAs is like Put for the module with a SHA-256. It does not store another
// module, and returns a [*ContentError].
func (s *Store) PutAs(sha256 string, r io.Reader, limit int64) (Info, error) {
	return s.put(r, limit, sha256)
}

func (s *Store) put(r io.Reader, limit int64, want string) (info Info, err error) {
	f, err := os.CreateTemp(s.dir, tempPrefix)
	if err != nil {
		return Info{}, s.failed(err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	sum := sha256.New()
	size, err := io.Copy(io.MultiWriter(storing{s, f}, sum), io.LimitReader(r, limit+1))
	if err != nil {
		return Info{}, err // from storing or r, which describe what failed
	}
	if size > limit {
		return Info{}, &ContentError{
			Message: fmt.Sprintf("is larger than %d bytes", limit),
			Hint:    "make the module smaller, or raise --module-limit",
		}
	}
	got := hex.EncodeToString(sum.Sum(nil))
	if want != "" && got != want {
		return Info{}, &ContentError{Message: fmt.Sprintf("has sha256 %s, expected %s", got, want)}
	}
	contents, err := Inspect(f, size)
	if err != nil {
		return Info{}, err
	}
	info = Info{SHA256: got, Size: size, ABI: contents.ABI}
	if err := s.keep(f, info, contents.Wants()); err != nil {
		return Info{}, s.failed(err)
	}
	return info, nil
}

// keep makes a complete temporary file durable and renames it.
func (s *Store) keep(f *os.File, info Info, wants Wants) error {
	if err := f.Chmod(0o444); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	stat, err := f.Stat()
	if err != nil {
		return err
	}
	if err := s.name(f, stat, info, wants); err != nil {
		return err
	}
	return syncDir(s.dir)
}

// name renames a file to its final name.
func (s *Store) name(f *os.File, stat fs.FileInfo, info Info, wants Wants) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(f.Name(), s.path(info.SHA256)); err != nil {
		return err
	}
	s.verified[info.SHA256] = verifiedFile{info: info, wants: wants, modified: stat.ModTime(), used: time.Now()}
	return nil
}

// removeIf removes a module and its state if meant returns true for its file,
// which may have been replaced.
func (s *Store) removeIf(sha256 string, meant func(fs.FileInfo) bool) (removed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stat, err := os.Stat(s.path(sha256))
	if errors.Is(err, fs.ErrNotExist) {
		delete(s.verified, sha256)
		return false, nil
	}
	if err != nil || !meant(stat) {
		return false, err
	}
	delete(s.verified, sha256)
	return true, os.Remove(s.path(sha256))
}

// Stat returns the Info of a module, or an error that is [fs.ErrNotExist] or
// [ErrCorrupt]. The first time in the life of a Store, and whenever the file
// has changed, it reads and verifies the whole file.
func (s *Store) Stat(sha256 string) (Info, error) {
	f, info, err := s.Open(sha256)
	if err != nil {
		return Info{}, err
	}
	f.Close()
	return info, nil
}

// there reports whether a module has a file, of any content.
func (s *Store) there(sha256 string) bool {
	_, err := os.Lstat(s.path(sha256))
	return err == nil
}

// names returns the modules that have a file, whatever its content.
func (s *Store) names() map[string]bool {
	files, _ := os.ReadDir(s.dir) // if this fails, nothing is removed either
	names := make(map[string]bool, len(files))
	for _, file := range files {
		if sum, ok := strings.CutSuffix(file.Name(), storeExt); ok && IsSHA256(sum) {
			names[sum] = true
		}
	}
	return names
}

// Open opens a module for reading. Its errors are those of Stat.
func (s *Store) Open(sha256 string) (*os.File, Info, error) {
	if !IsSHA256(sha256) {
		return nil, Info{}, fmt.Errorf("open module %.80q: %w", sha256, fs.ErrNotExist)
	}
	f, err := os.Open(s.path(sha256))
	if err != nil {
		s.forget(sha256)
		return nil, Info{}, fmt.Errorf("open module: %w", err)
	}
	info, err := s.verify(f, sha256)
	if err != nil {
		f.Close()
		return nil, Info{}, fmt.Errorf("open module %s: %w", sha256, err)
	}
	return f, info, nil
}

// Contents returns the imports and exports of a module.
func (s *Store) Contents(sha256 string) (*Contents, error) {
	f, info, err := s.Open(sha256)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Inspect(f, info.Size)
}

// Wants returns the Wants of a module, which are cached.
func (s *Store) Wants(sha256 string) (Wants, error) {
	s.mu.Lock()
	known, found := s.verified[sha256]
	s.mu.Unlock()
	if found {
		return known.wants, nil
	}
	c, err := s.Contents(sha256)
	if err != nil {
		return Wants{}, err
	}
	return c.Wants(), nil
}

// verify checks that an open file has the content of its name.
func (s *Store) verify(f *os.File, sum string) (Info, error) {
	stat, err := f.Stat()
	if err != nil {
		return Info{}, err
	}
	s.mu.Lock()
	e, found := s.verified[sum]
	if found && e.info.Size == stat.Size() && e.modified.Equal(stat.ModTime()) {
		e.used = time.Now()
		s.verified[sum] = e
		s.mu.Unlock()
		return e.info, nil
	}
	s.mu.Unlock()

	info, err, _ := s.verifying.Do(sum+fileTag(stat), func() (any, error) {
		hash := sha256.New()
		if _, err := io.Copy(hash, io.NewSectionReader(f, 0, stat.Size())); err != nil {
			return Info{}, err
		}
		c, err := Inspect(f, stat.Size())
		if err != nil || hex.EncodeToString(hash.Sum(nil)) != sum {
			_, err := s.removeIf(sum, func(now fs.FileInfo) bool { return os.SameFile(now, stat) })
			return Info{}, errors.Join(ErrCorrupt, err)
		}
		info := Info{SHA256: sum, Size: stat.Size(), ABI: c.ABI}
		s.mu.Lock()
		defer s.mu.Unlock()
		if now, err := os.Stat(s.path(sum)); err != nil {
			return Info{}, err // removed meanwhile
		} else if os.SameFile(now, stat) {
			s.verified[sum] = verifiedFile{info: info, wants: c.Wants(), modified: stat.ModTime(), used: time.Now()}
		}
		return info, nil
	})
	if err != nil {
		return Info{}, err
	}
	return info.(Info), nil
}

func (s *Store) forget(sha256 string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.verified, sha256)
}

func (s *Store) path(sha256 string) string { return filepath.Join(s.dir, sha256+storeExt) }

// Size returns the number of modules in the store and their total size in
// bytes.
func (s *Store) Size(ctx context.Context) (modules int, size int64, err error) {
	err = s.each(ctx, func(_ string, stat fs.FileInfo) error {
		modules++
		size += stat.Size()
		return nil
	})
	return modules, size, err
}

func (s *Store) each(ctx context.Context, do func(sha256 string, stat fs.FileInfo) error) error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		sum, ok := strings.CutSuffix(file.Name(), storeExt)
		if !ok || !IsSHA256(sum) {
			continue
		}
		stat, err := file.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = do(sum, stat)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// IsSHA256 reports whether s is a hash in the form of a module's name, in
// lower-case hex. This also prevents names from leaving the directory.
func IsSHA256(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// storing distinguishes errors of the disk from errors of the origin.
type storing struct {
	store *Store
	f     *os.File
}

func (s storing) Write(b []byte) (int, error) {
	n, err := s.f.Write(b)
	if err != nil {
		err = s.store.failed(err)
	}
	return n, err
}

// failed returns an error that a module could not be stored, in the same words
// for each attempt, since the temporary file always has a different name.
func (s *Store) failed(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: e.Op, Path: s.dir, Err: e.Err}
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = &fs.PathError{Op: e.Op, Path: s.dir, Err: e.Err}
	}
	return fmt.Errorf("store module: %w", err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
