// Package older takes over data directories from before xds-server had a state file, when
// each component wrote files of its own. It can be removed once nobody upgrades from such a
// version.
package older

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"wasmxds/state"
)

// Key is the key of the entry that records the progress: "taken", "done".
const Key = "older"

// left lists what may be left in a data directory, and how to read it.
var left = []struct {
	name string
	read func(path string, log *slog.Logger) ([]state.Op, error)
}{
	{"definitions", readDefinitions},
	{"modules.json", readModules},
	{"trials", readTrials},
	{"listeners", readListeners},
	{"proved", readProved},
	{"nodes.json", readNodes},
}

// Take takes over what is left in a data directory, once: it writes all of it in one batch
// and then removes the files. If it is interrupted, it continues at the next start. What
// can't be read is logged and left out. If Take returns an error, nothing is lost, and the
// server must not start.
func Take(ctx context.Context, dir string, store state.Store, log *slog.Logger) error {
	e, err := store.Get(ctx, Key)
	if err != nil && !errors.Is(err, state.ErrNotFound) {
		return fmt.Errorf("migrate the state of an older version: %w", err)
	}
	if string(e.Value) == "done" {
		return nil
	}
	if string(e.Value) != "taken" {
		if err := take(ctx, dir, store, log); err != nil {
			return fmt.Errorf("migrate the state of an older version: %w", err)
		}
	}
	for _, l := range left {
		if err := os.RemoveAll(filepath.Join(dir, l.name)); err != nil {
			return fmt.Errorf("remove the state of an older version: %w", err)
		}
	}
	if _, err := store.Apply(ctx, []state.Op{{Key: Key, Value: []byte("done")}}); err != nil {
		return fmt.Errorf("migrate the state of an older version: %w", err)
	}
	return nil
}

func take(ctx context.Context, dir string, store state.Store, log *slog.Logger) error {
	var ops []state.Op
	for _, l := range left {
		found, err := l.read(filepath.Join(dir, l.name), log)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			log.Error("the state of an older version can't be read", "file", l.name, "error", err)
		}
		ops = append(ops, found...)
	}
	if len(ops) > 0 {
		log.Info("migrating the state of an older version", "entries", len(ops))
	}
	_, err := store.Apply(ctx, append(ops, state.Op{Key: Key, Value: []byte("taken")}))
	return err
}
