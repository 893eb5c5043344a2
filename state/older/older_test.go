package older

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"wasmxds/state"
	"wasmxds/state/local"
)

// dataDir returns a data directory in the old layout, a copy of testdata/data. Its files
// are from the last version with that layout, except those that contain Envoys.
func dataDir(t *testing.T) (string, *local.Store) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/data")); err != nil {
		t.Fatal(err)
	}
	return dir, opened(t, dir)
}

func opened(t *testing.T, dir string) *local.Store {
	t.Helper()
	s, err := local.Open(filepath.Join(dir, "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func kept(t *testing.T, s state.Store) map[string]string {
	t.Helper()
	entries, _, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		all[e.Key] = string(e.Value)
	}
	return all
}

// remaining returns the files besides the state.
func remaining(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}

var want = []string{
	"definitions/sub/hello.yaml",
	"definitions/web.yaml",
	"listeners/2d7ba83230ed8d11",
	"modules/filter/hello",
	"modules/origin/",
	"nodes/edge-1",
	"nodes/edge-2",
	"older",
	"proved/other",
	"trials/0e713e13",
}

func check(t *testing.T, dir string, s state.Store) {
	t.Helper()
	all := kept(t, s)
	keys := slices.Sorted(maps.Keys(all))
	for i, k := range keys {
		if strings.HasPrefix(k, "modules/origin/") {
			keys[i] = "modules/origin/"
		}
	}
	if !slices.Equal(keys, want) {
		t.Errorf("kept %q, want %q", keys, want)
	}
	for key, part := range map[string]string{
		"older":                      "done",
		"definitions/sub/hello.yaml": "kind: WasmFilter\n",
		"listeners/2d7ba83230ed8d11": `"sum":"2d7ba83230ed8d11"`,
		"modules/filter/hello":       `"trial":"0e713e`,
		"nodes/edge-2":               `"away":90000000000`,
		"trials/0e713e13":            "it ends the process",
	} {
		if !strings.Contains(all[key], part) {
			t.Errorf("%s: %q, want it with %q", key, all[key], part)
		}
	}
	if got := remaining(t, dir); got != "modules state.db" {
		t.Errorf("left are %s", got)
	}
}

func TestTake(t *testing.T) {
	dir, s := dataDir(t)
	log := slog.New(slog.DiscardHandler)
	if err := Take(t.Context(), dir, s, log); err != nil {
		t.Fatal(err)
	}
	check(t, dir, s)

	// Only once: files that appear later belong to somebody else.
	if err := os.Mkdir(filepath.Join(dir, "definitions"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Take(t.Context(), dir, s, log); err != nil {
		t.Fatal(err)
	}
	if got := remaining(t, dir); got != "definitions modules state.db" {
		t.Errorf("left are %s", got)
	}
}

// cut is a store whose writes fail from the one numbered after on.
type cut struct {
	state.Store
	after int
}

func (c *cut) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if c.after--; c.after < 0 {
		return 0, errors.New("no space left on device")
	}
	return c.Store.Apply(ctx, ops)
}

// TestTakeIsCutOff checks that an interrupted migration continues at the next start,
// wherever it was interrupted.
func TestTakeIsCutOff(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for after := range 2 {
		dir, s := dataDir(t)
		before := remaining(t, dir)
		if err := Take(t.Context(), dir, &cut{s, after}, log); err == nil {
			t.Error("no error")
		}
		if after == 0 && remaining(t, dir) != before {
			t.Errorf("left are %s", remaining(t, dir))
		}
		if err := Take(t.Context(), dir, s, log); err != nil {
			t.Fatal(err)
		}
		check(t, dir, s)
	}

	// Killed while it removed files: the remaining ones aren't read again.
	dir, s := dataDir(t)
	if err := take(t.Context(), dir, s, log); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "definitions", "web.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := Take(t.Context(), dir, s, log); err != nil {
		t.Fatal(err)
	}
	check(t, dir, s)
}

// TestTakeLeavesLinks checks that a directory that is a link stays: xds-server made none.
func TestTakeLeavesLinks(t *testing.T) {
	dir, mine := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "web.yaml"), []byte("kind: Listener\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, filepath.Join(dir, "definitions")); err != nil {
		t.Fatal(err)
	}
	s := opened(t, dir)
	if err := Take(t.Context(), dir, s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if all := kept(t, s); len(all) != 1 {
		t.Errorf("kept %q", all)
	}
	if got := remaining(t, mine); got != "web.yaml" {
		t.Errorf("left are %q", got)
	}
}
