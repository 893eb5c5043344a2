package main

import (
	"archive/tar"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDist packs a build for this platform twice, and looks at what came.
// `make dist-check` builds twice as well.
func TestDist(t *testing.T) {
	here := platform{runtime.GOOS, runtime.GOARCH}
	var sums [2]string
	var out string
	work := t.TempDir()
	for i := range sums {
		out = t.TempDir()
		d := &dist{root: "../..", work: work, out: out, flags: []string{"-buildvcs=false"}} // the same in a clone and in an archive
		must(t, d.extras(t.Context()))
		must(t, d.platform(t.Context(), here))
		must(t, checksums(out))
		b, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
		must(t, err)
		sums[i] = string(b)
	}
	if diff := cmp.Diff(sums[0], sums[1]); diff != "" {
		t.Errorf("packing twice gives two things:\n%s", diff)
	}
	name := "wasmxds_devel_" + here.os + "_" + here.arch
	if !strings.Contains(sums[0], "  "+name+".tar.gz\n") || !strings.Contains(sums[0], "  "+name+".cdx.json\n") {
		t.Errorf("SHA256SUMS lacks the archive or the SBOM:\n%s", sums[0])
	}

	to := t.TempDir()
	files := unpack(t, filepath.Join(out, name+".tar.gz"), to)
	for _, want := range []string{
		"xds-server", "LICENSE", "README.md", "xds-server.service", "man/man1/xds-server.1", "man/man1/xds-server-serve.1",
		"completions/bash/xds-server", "completions/zsh/_xds-server", "completions/fish/xds-server.fish",
	} {
		if !slices.Contains(files, name+"/"+want) {
			t.Errorf("the archive lacks %s: %q", want, files)
		}
	}
	program := filepath.Join(to, name, "xds-server")
	version, err := exec.Command(program, "version").Output()
	must(t, err)
	if !strings.HasPrefix(string(version), "xds-server (devel) go1.") {
		t.Errorf("version says %q", version)
	}
	if here.os == "linux" {
		static(t, program)
	}
	complete(t, filepath.Join(out, name+".cdx.json"), program)
}

// static fails where a program needs a loader.
func static(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	must(t, err)
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has a segment %v", p.Type)
		}
	}
}

// complete fails where an SBOM lacks a module of a program.
func complete(t *testing.T, path, program string) {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	var b bom
	must(t, json.Unmarshal(text, &b))
	info, err := buildinfo.ReadFile(program)
	must(t, err)
	want := []string{"std"}
	for _, m := range info.Deps {
		want = append(want, m.Path)
	}
	var got []string
	for i, c := range b.Components {
		got = append(got, c.Name)
		if i > 0 && (len(c.Hashes) != 1 || len(c.Hashes[0].Content) != 64) {
			t.Errorf("%s has the hashes %v", c.Name, c.Hashes)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the SBOM's modules are not the program's:\n%s", diff)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Name != "wasmxds" || len(b.Dependencies[0].DependsOn) != len(got) {
		t.Errorf("the SBOM is of %+v", b.Metadata)
	}
}

func unpack(t *testing.T, from, to string) []string {
	t.Helper()
	f, err := os.Open(from)
	must(t, err)
	defer f.Close()
	zip, err := gzip.NewReader(f)
	must(t, err)
	var files []string
	for r := tar.NewReader(zip); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		must(t, err)
		files = append(files, h.Name)
		path := filepath.Join(to, filepath.FromSlash(h.Name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		content, err := io.ReadAll(r)
		must(t, err)
		must(t, os.WriteFile(path, content, h.FileInfo().Mode()))
	}
}

func TestParsePlatforms(t *testing.T) {
	got, err := parsePlatforms("linux/amd64,darwin/arm64")
	must(t, err)
	if want := []platform{{"linux", "amd64"}, {"darwin", "arm64"}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := parsePlatforms("linux"); err == nil {
		t.Error("a platform without an architecture is taken")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
