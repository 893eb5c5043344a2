package scaffold_test

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/scaffold"
)

var update = flag.Bool("update", false, "copy filter/stdgo into the templates")

// TestStdgo checks that new filters get the same stdgo as the project's own. It is copied
// because embedding stops at a directory with a go.mod.
func TestStdgo(t *testing.T) {
	const from, to = "../filter/stdgo", "templates/go/stdgo"
	want := map[string]string{}
	err := filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return fs.SkipDir
		case entry.IsDir() || strings.HasSuffix(path, "_test.go") || entry.Name() == "staticcheck.conf":
			return nil
		}
		content, err := os.ReadFile(path)
		want[strings.TrimPrefix(path, from)+".tmpl"] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		for name, content := range want {
			file := filepath.Join(to, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := map[string]string{}
	err = filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		got[strings.TrimPrefix(path, to)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s is not %s (run go test ./scaffold -update):\n%s", to, from, diff)
	}
}

func TestGoBuilds(t *testing.T) {
	folder := newFilter(t, "go")
	command(t, folder, "gofmt", "-l", ".")
	command(t, folder, "go", "vet", "./...")
	command(t, folder, "make", "test")
	makes(t, folder)
	tries(t, folder)
}

// tries runs the tests of a new filter with this xds-server.
func tries(t *testing.T, folder string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "xds-server")
	command(t, "..", "go", "build", "-o", program, "./cmd/xds-server")
	command(t, folder, "make", "try", "XDS_SERVER="+program)
}

// newFilter creates a filter "my-filter", and checks what needs no compiler.
func newFilter(t *testing.T, lang string) string {
	t.Helper()
	dir := t.TempDir()
	if err := scaffold.New(dir, "my-filter", lang); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "my-filter")
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("@name@")) || strings.Contains(path, "@name@") || strings.HasSuffix(path, ".tmpl") {
			t.Errorf("%s is not filled in", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// makes runs make, and installs module and definition into a directory.
func makes(t *testing.T, folder string) {
	t.Helper()
	to := t.TempDir()
	command(t, folder, "make", "install", "TO="+to)
	module, err := os.ReadFile(filepath.Join(to, "my-filter.wasm"))
	if err != nil || !bytes.HasPrefix(module, []byte("\x00asm")) || !bytes.Contains(module, []byte("proxy_abi_version_0_2_")) {
		t.Errorf("no Proxy-Wasm module of %d bytes (%v)", len(module), err)
	}
	file := filepath.Join(to, "my-filter.yaml")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	set, problems := definition.Parser{}.Parse(file, content)
	if len(problems) > 0 || len(set.Filters) != 1 {
		t.Fatalf("definition: %d filters, problems %v", len(set.Filters), problems)
	}
	if content, err = os.ReadFile(filepath.Join(to, "my-filter-test.yaml")); err != nil {
		t.Fatal(err)
	}
	tests, problems := definition.Parser{}.Parse(file, content)
	if len(problems) > 0 || len(tests.Tests) != 1 || tests.Tests[0].Filter != "my-filter" {
		t.Fatalf("tests: problems %v", problems)
	}
	if url, want := set.Filters[0].Module.URL, "file://"+filepath.Join(to, "my-filter.wasm"); url != want {
		t.Errorf("module %s, want %s", url, want)
	}
}

// command runs a command that must succeed; gofmt must print nothing.
func command(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	if name == "gofmt" && len(out) > 0 {
		t.Errorf("not gofmt'd: %s", out)
	}
}

func TestRustIsComplete(t *testing.T) {
	folder := newFilter(t, "rust")
	for _, name := range []string{"Cargo.toml", "Cargo.lock", "src/lib.rs", "Makefile", "README.md", "my-filter.yaml", "my-filter-test.yaml", ".gitignore"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(filepath.Join(folder, "build.sh")); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("build.sh: %v, can't be run", err)
	}
}

func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []struct{ name, lang, want string }{
		{"", "go", "needs lower-case letters"},
		{"My", "go", "needs lower-case letters"},
		{"../x", "go", "needs lower-case letters"},
		{"1x", "rust", "needs lower-case letters"},
		{strings.Repeat("a", 64), "go", "63 at most"},
		{"x", "zig", `language "zig": needs one of go, rust`},
	} {
		if err := scaffold.New(dir, bad.name, bad.lang); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%q in %q: error %v, want %s", bad.name, bad.lang, err, bad.want)
		}
	}
	mine := filepath.Join(dir, "mine")
	if err := os.Mkdir(mine, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := scaffold.New(dir, "mine", "go"); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("over a folder that is there: %v", err)
	}
	entries, err := os.ReadDir(mine)
	if err != nil || len(entries) > 0 {
		t.Errorf("wrote into a folder that was there: %v %v", entries, err)
	}
}
