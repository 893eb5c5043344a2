package source

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"wasmxds/files"
)

// lastGood keeps each file's last good content in a folder of the same shape
// as the one that is watched. To write it is slow (each file is synced) and
// may not work out (full disk): neither holds up anything else. What could
// not be written is tried again.
type lastGood struct {
	dir string // "": nothing is kept
	log *slog.Logger

	mu      sync.Mutex
	pending map[string][]byte // by path relative to dir; nil: remove
	wake    chan struct{}     // cap 1
}

// The pauses between attempts to write.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

func newLastGood(dir string, log *slog.Logger) *lastGood {
	return &lastGood{dir: dir, log: log, pending: map[string][]byte{}, wake: make(chan struct{}, 1)}
}

// load gives what was kept, by path.
func (k *lastGood) load(limit int64) map[string][]byte {
	kept := map[string][]byte{}
	if k.dir == "" {
		return kept
	}
	err := filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			k.log.Warn("read last good definitions", "error", err)
			return nil
		case d.IsDir():
			return nil
		case path == k.dir:
			return fmt.Errorf("%s is not a folder", path)
		case strings.HasPrefix(d.Name(), ".") && path != filepath.Join(k.dir, forceFile): // left over from a write that was cut off
			_ = os.Remove(path)
			return nil
		}
		rel, err := filepath.Rel(k.dir, path)
		if err != nil {
			return err
		}
		data, _, err := read(files.Open, path, limit, nil, true)
		if err != nil {
			k.log.Warn("read last good definitions", "file", path, "error", err)
			return nil
		}
		kept[filepath.ToSlash(rel)] = data
		return nil
	})
	if err != nil {
		k.log.Warn("read last good definitions", "error", err)
	}
	return kept
}

// put keeps a file's content from now on; nil forgets the file.
func (k *lastGood) put(rel string, data []byte) {
	if k.dir == "" {
		return
	}
	k.mu.Lock()
	k.pending[rel] = data
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// run writes what was put until ctx ends, and then what is left, once.
func (k *lastGood) run(ctx context.Context) error {
	retry := time.NewTimer(0)
	retry.Stop()
	defer retry.Stop()
	pause := firstRetry
	for {
		select {
		case <-ctx.Done():
			k.flush()
			return nil
		case <-k.wake:
		case <-retry.C:
		}
		if err := k.flush(); err != nil {
			k.log.Error("keep last good definitions; a file that is bad at the next start may have nothing to fall back on",
				"error", err, "retry", pause)
			retry.Reset(pause)
			pause = min(2*pause, lastRetry)
			continue
		}
		pause = firstRetry
	}
}

// flush writes all that is pending. What can't be written stays pending; the
// error is the first one.
func (k *lastGood) flush() error {
	k.mu.Lock()
	work := k.pending
	k.pending = map[string][]byte{}
	k.mu.Unlock()

	failed := map[string][]byte{}
	var first error
	// What limits the listeners in force is there before and after all else, in
	// case this is cut off. Removals are before what is written, so that a file
	// can become a folder.
	limit, limits := work[forceFile]
	for turn := range 4 {
		for rel, data := range work {
			at := 1
			switch {
			case limits && rel == forceFile && limit == nil:
				at = 3
			case limits && rel == forceFile:
				at = 0
			case data != nil:
				at = 2
			}
			if at != turn {
				continue
			}
			if err := k.write(rel, data); err != nil {
				failed[rel] = data
				if first == nil {
					first = err
				}
			}
		}
	}
	k.mu.Lock()
	for rel, data := range failed {
		if _, newer := k.pending[rel]; !newer {
			k.pending[rel] = data
		}
	}
	k.mu.Unlock()
	return first
}

func (k *lastGood) write(rel string, data []byte) error {
	path := filepath.Join(k.dir, filepath.FromSlash(rel))
	if data != nil {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return fmt.Errorf("keep %s: %w", rel, err)
		}
		if err := renameio.WriteFile(path, data, 0o600, renameio.WithTempDir(filepath.Dir(path))); err != nil {
			return fmt.Errorf("keep %s: %w", rel, err)
		}
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget %s: %w", rel, err)
	}
	for dir := filepath.Dir(path); len(dir) > len(k.dir); dir = filepath.Dir(dir) {
		if os.Remove(dir) != nil {
			break // not empty
		}
	}
	return nil
}
