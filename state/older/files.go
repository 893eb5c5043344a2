package older

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"wasmxds/state"
)

// inForce is the only hidden file among the last good definitions that an interrupted write
// did not leave.
const inForce = ".in-force.json"

// readDefinitions reads the last good content of each file of definitions.
func readDefinitions(path string, log *slog.Logger) ([]state.Op, error) {
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, errors.New("it is not a folder")
	}
	var ops []state.Op
	err := filepath.WalkDir(path, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(path, file)
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), ".") && rel != inForce {
			return err
		}
		content, err := os.ReadFile(file)
		if err != nil {
			log.Warn("the state of an older version can't be read", "file", file, "error", err)
			return nil
		}
		ops = append(ops, state.Op{Key: "definitions/" + filepath.ToSlash(rel), Value: content})
		return nil
	})
	return ops, err
}

// readModules reads the last good module of each filter, and what origins have served.
func readModules(path string, _ *slog.Logger) ([]state.Op, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var saved struct {
		Version          int
		Filters, Origins []json.RawMessage
	}
	if err := json.Unmarshal(b, &saved); err != nil {
		return nil, err
	}
	if saved.Version != 1 {
		return nil, fmt.Errorf("it has version %d", saved.Version)
	}
	var ops []state.Op
	for _, raw := range saved.Filters {
		var f struct{ Definition struct{ Name string } }
		if err := json.Unmarshal(raw, &f); err != nil {
			return nil, err
		}
		ops = append(ops, state.Op{Key: "modules/filter/" + f.Definition.Name, Value: raw})
	}
	for _, raw := range saved.Origins {
		var o struct{ URL, Pull, PullSecret string }
		if err := json.Unmarshal(raw, &o); err != nil {
			return nil, err
		}
		ops = append(ops, state.Op{Key: "modules/origin/" + originKey(o.URL, o.Pull, o.PullSecret), Value: raw})
	}
	return ops, nil
}

// originKey computes keys as package module does.
func originKey(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// readTrials reads which modules crashed the process that tried them.
func readTrials(path string, log *slog.Logger) ([]state.Op, error) {
	return readFolder(path, log, func(name string, content []byte, _ fs.FileInfo) (state.Op, error) {
		return state.Op{Key: "trials/" + strings.TrimSuffix(name, ".json"), Value: content}, nil
	})
}

// readFolder reads each file of a folder of JSON.
func readFolder(path string, log *slog.Logger, read func(name string, content []byte, info fs.FileInfo) (state.Op, error)) ([]state.Op, error) {
	files, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var ops []state.Op
	for _, file := range files {
		info, err := file.Info()
		if err != nil || !info.Mode().IsRegular() || !strings.HasSuffix(file.Name(), ".json") {
			continue // left by an interrupted write, or not ours
		}
		var op state.Op
		content, err := os.ReadFile(filepath.Join(path, file.Name()))
		if err == nil && !json.Valid(content) {
			err = errors.New("it is not JSON")
		}
		if err == nil {
			op, err = read(file.Name(), content, info)
		}
		if err != nil {
			log.Warn("the state of an older version can't be read", "file", filepath.Join(path, file.Name()), "error", err)
			continue
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// readListeners reads the listeners that Envoys were sent. Older ones are named by the hash
// of their content and have no other sum.
func readListeners(path string, log *slog.Logger) ([]state.Op, error) {
	return readFolder(path, log, func(name string, content []byte, info fs.FileInfo) (state.Op, error) {
		var l map[string]json.RawMessage
		if err := json.Unmarshal(content, &l); err != nil {
			return state.Op{}, err
		}
		if l["sum"] == nil {
			l["sum"] = l["version"]
		}
		used, err := json.Marshal(info.ModTime())
		if err != nil {
			return state.Op{}, err
		}
		l["used"] = used
		value, err := json.Marshal(l)
		return state.Op{Key: "listeners/" + strings.TrimSuffix(name, ".json"), Value: value}, err
	})
}

// readProved reads which versions of filters have run. Those without a sum can no longer be
// verified; they are rediscovered as Envoys run them.
func readProved(path string, log *slog.Logger) ([]state.Op, error) {
	ops, err := readFolder(path, log, func(_ string, content []byte, _ fs.FileInfo) (state.Op, error) {
		var versions []struct{ Name, Sum string }
		if err := json.Unmarshal(content, &versions); err != nil {
			return state.Op{}, err
		}
		if len(versions) == 0 || versions[0].Sum == "" {
			return state.Op{}, nil
		}
		return state.Op{Key: "proved/" + versions[0].Name, Value: content}, nil
	})
	return slices.DeleteFunc(ops, func(op state.Op) bool { return op.Key == "" }), err
}

// readNodes reads which Envoys were connected, one per line.
func readNodes(path string, _ *slog.Logger) ([]state.Op, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ops []state.Op
	for line := range bytes.Lines(b) {
		var n struct{ ID string }
		if err := json.Unmarshal(line, &n); err != nil {
			return ops, err
		}
		ops = append(ops, state.Op{Key: "nodes/" + n.ID, Value: bytes.TrimSpace(line)})
	}
	return ops, nil
}
