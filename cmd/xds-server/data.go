package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"wasmxds/state"
	"wasmxds/state/local"
	"wasmxds/state/mirror"
	"wasmxds/state/older"
)

// dataDir is the data directory, held until it is closed.
type dataDir struct {
	dir  string
	lock *os.File
	log  *slog.Logger

	store *local.Store
	own   *state.Writer // keeps what is of this process alone
	kept  *state.Writer // keeps what any process needs that serves in its place
	// copied is the store elsewhere that kept writes to; nil: kept is own.
	copied    *mirror.Store
	elsewhere elsewhere // nil: the state is local
	end       func()
	ended     chan struct{}
}

// openData makes the data directory and takes hold of it, which lies apart from
// the definitions. An empty dir is the default one. With elsewhere, what others need
// is kept there, in what people call in. Close it when nobody puts anything any more.
func openData(ctx context.Context, dir, definitions, in string, elsewhere elsewhere, log *slog.Logger) (*dataDir, error) {
	if dir == "" {
		var err error
		if dir, err = defaultData(); err != nil {
			return nil, misused(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, unreachable(fmt.Errorf("make --data: %w", err))
	}
	if err := apart(dir, definitions); err != nil {
		return nil, misused(err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, unreachable(fmt.Errorf("open --data: %w", err))
	}
	d := &dataDir{dir: dir, lock: lock, log: log, elsewhere: elsewhere}
	if err := take(lock); err != nil {
		defer lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, unreachable(withHint(fmt.Errorf("--data %s is in use by another xds-server%s", dir, holder(lock)),
				"each xds-server needs a data directory of its own"))
		}
		return nil, unreachable(fmt.Errorf("lock --data: %w", err))
	}
	if err := sign(lock); err != nil {
		log.Warn("the process that uses --data can't be written down", "error", err)
	}
	if err := d.open(ctx, in); err != nil {
		lock.Close()
		return nil, unreachable(err)
	}
	return d, nil
}

// sign writes this process's id into a lock, for whoever wants it as well.
func sign(lock *os.File) error {
	if err := lock.Truncate(0); err != nil {
		return err
	}
	_, err := lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// holder says which process has signed a lock.
func holder(lock *os.File) string {
	id := make([]byte, 20)
	n, _ := lock.ReadAt(id, 0) // what is not there is not said
	if pid, err := strconv.Atoi(strings.TrimSpace(string(id[:n]))); err == nil {
		return fmt.Sprintf(", process %d", pid)
	}
	return ""
}

// lockWait is how long a lock is waited for. A server that was killed while it
// started a process for trials leaves the lock with that process, until it has
// become another program.
const lockWait = 2 * time.Second

// take locks a file. It gives syscall.EWOULDBLOCK where another process has it,
// and does not let go.
func take(lock *os.File) error {
	for end := time.Now().Add(lockWait); ; time.Sleep(20 * time.Millisecond) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(end) {
			return err
		}
	}
}

// apart says whether the data directory and the definitions are out of each
// other's way: what is written to the former must not look like a change of the
// latter, and the folder "definitions" is one that older versions kept there.
func apart(data, definitions string) error {
	switch {
	case definitions == "": // none are in a directory
		return nil
	case within(data, definitions, true):
		return fmt.Errorf("--data %s is inside the definitions directory %s; choose another place for it", data, definitions)
	case within(definitions, filepath.Join(data, "definitions"), false):
		return fmt.Errorf("--definitions %s is inside a directory that xds-server manages in --data; choose another place for it", definitions)
	}
	return nil
}

// within says whether a path is dir or below it, for walks where that would be
// seen: not below what is hidden.
func within(path, dir string, walked bool) bool {
	rel, err := filepath.Rel(real(dir), real(path))
	return err == nil && (rel == "." || filepath.IsLocal(rel) && !(walked && strings.HasPrefix(rel, ".")))
}

// real is a path without links, as far as it is there.
func real(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(real(parent), filepath.Base(path))
	}
	return path
}

// open opens the state, and begins to write what is put there.
func (d *dataDir) open(ctx context.Context, in string) error {
	var err error
	if d.store, err = local.Open(d.path("state.db"), d.log); err != nil {
		return fmt.Errorf("open --data: %w", err)
	}
	if err := older.Take(context.Background(), d.dir, d.store, d.log); err != nil {
		return errors.Join(fmt.Errorf("open --data: %w", err), d.store.Close())
	}
	d.own = state.NewWriter(d.store, d.log)
	d.kept = d.own
	run := []func(context.Context){d.own.Run}
	if d.elsewhere != nil {
		if d.copied, err = openCopied(ctx, in, d.elsewhere, d.store, d.log); err != nil {
			return errors.Join(fmt.Errorf("open the state in %s: %w", in, err), d.elsewhere.Close(), d.store.Close())
		}
		d.kept = state.NewWriter(d.copied, d.log)
		run = append(run, d.kept.Run, d.copied.Run)
	}
	ctx, d.end = context.WithCancel(context.Background())
	d.ended = make(chan struct{})
	go func() {
		defer close(d.ended)
		var running sync.WaitGroup
		for _, r := range run {
			running.Go(func() { r(ctx) })
		}
		running.Wait()
	}()
	return nil
}

func defaultData() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // as its specification asks
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("--data is required, because neither $XDG_STATE_HOME nor $HOME is set")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "wasmxds"), nil
}

func (d *dataDir) path(name string) string { return filepath.Join(d.dir, name) }

// lastWrites is how long what was put last may take to be written. A disk that
// hangs does not keep the server from ending.
const lastWrites = 10 * time.Second

// Close writes what was put last, and lets go of the directory. The kernel lets go as
// well when the process is killed.
func (d *dataDir) Close() {
	d.end()
	select {
	case <-d.ended:
		err := d.store.Close()
		if d.elsewhere != nil {
			err = errors.Join(err, d.elsewhere.Close())
		}
		if err != nil {
			d.log.Error("what was kept is not closed well", "error", err)
		}
	case <-time.After(lastWrites):
		d.log.Error("what changed last is not kept for the next start: the disk takes too long", "after", lastWrites)
	}
	d.lock.Close()
}
