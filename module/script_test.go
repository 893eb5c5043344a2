package module

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/files"
)

// untilScript waits for a state, with that script in force.
func (r *resolving) untilScript(state State, script string) *Filter {
	r.t.Helper()
	set := r.next(func(s *Set) bool {
		f := s.Filters[0]
		return f.State == state && f.Ready() == (script != "") && f.Definition.Lua.Script == script
	})
	return set.Filters[0]
}

func luaIn(url string) *definition.Filter {
	return &definition.Filter{Name: "tag", Pos: definition.Position{File: "tag.yaml", Line: 3}, OnFailure: definition.Closed,
		Module: definition.Module{URL: url}, Lua: new(definition.Lua)}
}

// TestScriptFile checks that a script in a file is followed, and the last good
// one stays in use while the file has none, even after a restart.
func TestScriptFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tag.lua")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := newMachine(t)
	m.options.LookAt = 50 * time.Millisecond
	r := m.start()
	d := luaIn("file://" + path)
	r.set(d)
	if got := r.untilScript(Failed, ""); !strings.Contains(got.Reason, "script file: ") || !strings.Contains(got.Reason, "no such file") {
		t.Errorf("%+v", got)
	}
	write("x = 1")
	if got := r.untilScript(Good, "x = 1"); got.Wanted != d || got.Definition.Name != "tag" || got.Module != (Info{}) {
		t.Errorf("%+v", got)
	}
	write("x = 2") // with an unchanged definition
	first := r.untilScript(Good, "x = 2")
	for what, text := range map[string]string{"is empty": " \n", "bytes, 65536 at most": strings.Repeat("-", 1<<17), "UTF-8": "x = '\xff'", "is compiled": "\x1bLJ"} {
		write(text)
		set := r.next(func(s *Set) bool { return strings.Contains(s.Filters[0].Reason, what) })
		if f := set.Filters[0]; f.State != Failed || f.Definition.Lua.Script != "x = 2" || !strings.Contains(f.Reason, "it keeps running the script before") {
			t.Errorf("%s: %+v", what, f)
		}
		if p := set.Problems; len(p) != 1 || p[0].File != "tag.yaml" || p[0].Line != 3 || p[0].Field != "file" {
			t.Errorf("%s: %v", what, p)
		}
	}
	write("x = 2")
	if again := r.untilScript(Good, "x = 2"); again.Definition != first.Definition {
		t.Error("the same script is another definition")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r = m.start()
	r.set(d)
	r.untilScript(Failed, "x = 2")
	r.set(&definition.Filter{Name: "tag", Lua: &definition.Lua{Script: "x = 3"}})
	r.untilScript(Good, "x = 3")
	m.end()
}

// TestScriptOutside checks that no script outside the allowed folders is read.
func TestScriptOutside(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, filepath.Join(dir, "tag.lua")); err != nil {
		t.Fatal(err)
	}
	roots, err := files.NewRoots(dir)
	if err != nil {
		t.Fatal(err)
	}
	r := resolve(t, Options{Policy: Policy{Roots: &roots}})
	r.set(luaIn("file://" + filepath.Join(dir, "tag.lua")))
	if got := r.untilScript(Failed, ""); !strings.Contains(got.Reason, "outside") {
		t.Errorf("%+v", got)
	}
}
