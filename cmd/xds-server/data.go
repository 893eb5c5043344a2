package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataDir is the data directory, held until it is closed.
type dataDir struct {
	dir  string
	lock *os.File
}

// openData makes the data directory and takes hold of it. An empty dir is the
// default one.
func openData(dir string) (*dataDir, error) {
	if dir == "" {
		var err error
		if dir, err = defaultData(); err != nil {
			return nil, misused(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, unreachable(fmt.Errorf("make --data: %w", err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, unreachable(fmt.Errorf("open --data: %w", err))
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, unreachable(fmt.Errorf("--data %s is in use by another xds-server", dir))
		}
		return nil, unreachable(fmt.Errorf("lock --data: %w", err))
	}
	return &dataDir{dir, lock}, nil
}

func defaultData() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) { // as its specification asks
		home, err := os.UserHomeDir()
		if err != nil {
			return "", errors.New("--data is needed: neither $XDG_STATE_HOME nor $HOME says where to keep modules")
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "wasmxds"), nil
}

func (d *dataDir) path(name string) string { return filepath.Join(d.dir, name) }

// Close lets go of the directory. The kernel does so as well when the process
// is killed.
func (d *dataDir) Close() error { return d.lock.Close() }
