package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMain is a reference server where one is asked for, as main is.
func TestMain(m *testing.M) {
	name := os.Getenv(envServe)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := serveReference(context.Background(), name, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestShort compares all servers under twenty Envoys, to see that it works.
// How long things take is not looked at.
func TestShort(t *testing.T) {
	program, err := buildServer(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Run("delta", func(t *testing.T) { short(t, program, "delta 20", "-protocols=delta", "-tls=false") })
	t.Run("sotw TLS", func(t *testing.T) { short(t, program, "sotw 20 TLS", "-protocols=sotw", "-plaintext=false") })
}

func short(t *testing.T, program, name string, args ...string) {
	o, err := parse(append(args, "-short", "-servers=wasmxds,wasmxds-h2,wasmxds-rollout,naive,floor,replay", "-out", t.TempDir(), "-xds-server", program))
	if err != nil {
		t.Fatal(err)
	}
	report, err := runAll(t.Context(), o, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if runs := o.runs(nil); len(report.Results) != len(runs) {
		t.Fatalf("%d results, want one for each of %v", len(report.Results), runs)
	}
	for _, r := range report.Results {
		check(t, r)
	}
	if len(report.Ratios) < 2*len(figures())-2 { // but for memory, which may shrink
		t.Errorf("%d ratios, want %d", len(report.Ratios), 2*len(figures()))
	}
	var table strings.Builder
	report.table(&table)
	for _, word := range []string{"wasmxds " + name, "wasmxds-h2 " + name, "wasmxds-rollout " + name, "naive " + name, "floor " + name, "bigmodule", "connect storm", "of that without a Rollout"} {
		if !strings.Contains(table.String(), word) {
			t.Errorf("the table lacks %q:\n%s", word, &table)
		}
	}
	if g := report.Groups; g.FirstByte <= 0 || g.Swapped < g.FirstByte || g.Others != 0 {
		t.Errorf("a change of one group: %+v", g)
	}
	files(t, o.out)
}

// check looks at what has to be so however fast the machine is.
func check(t *testing.T, r *Result) {
	t.Helper()
	scenes := []string{sceneStorm, sceneOne, sceneAll, sceneAgain}
	if r.Server == "replay" {
		scenes = scenes[:1]
		// What a real one costs: each Envoy has refused each module once, and downloaded both.
		if f := r.Scenes[sceneStorm]; f != nil && (f.Responses > 10 || f.Fetches != 2*int64(r.Clients)) {
			t.Errorf("%v: %+v, want at most ten responses and two downloads a client", r.run, f)
		}
	}
	for _, name := range scenes {
		f := r.Scenes[name]
		if f == nil {
			t.Errorf("%v: scene %s was not played", r.run, name)
			continue
		}
		if f.P50 <= 0 || f.P50 > f.P99 || f.P99 > f.Max || f.CPU <= 0 || f.Responses < 1 {
			t.Errorf("%v: scene %s: %+v", r.run, name, f)
		}
	}
	if !strings.HasPrefix(r.Server, "wasmxds") {
		return
	}
	for _, name := range []string{sceneModule, sceneBig} {
		// Every Envoy has refused the module once and downloaded it.
		if f := r.Scenes[name]; f == nil || f.Fetches < int64(r.Clients) || f.Refused < int64(r.Clients) {
			t.Errorf("%v: scene %s: %+v, want a download by each", r.run, name, f)
		}
	}
	// The variant, primed, then in its slot and in the routes.
	if f := r.Scenes[sceneRoute]; f == nil || f.Responses < 3 {
		t.Errorf("%v: scene %s: %+v, want three responses", r.run, sceneRoute, f)
	}
	// The filter, primed and then swapped: two responses.
	if f := r.Scenes[sceneOne]; f != nil && f.Responses > 2.5 {
		t.Errorf("%v: a change took %.1f responses a client, want 2", r.run, f.Responses)
	}
}

// files looks whether others can read what was written.
func files(t *testing.T, dir string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var report Report
	if err := json.Unmarshal(b, &report); err != nil || len(report.Results) == 0 {
		t.Errorf("bench.json: %v, %d results", err, len(report.Results))
	}
	svg, err := os.Open(filepath.Join(dir, "bench.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer svg.Close()
	for d := xml.NewDecoder(svg); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("bench.svg: %v", err)
		}
	}
}
