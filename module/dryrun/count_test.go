package dryrun

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module/dryrun/stream"
)

// instructions are those of a request's headers.
func instructions(t *testing.T, played Played) uint64 {
	t.Helper()
	for _, c := range played.Streams[0].Callbacks {
		if c.Name == "proxy_on_request_headers" {
			return c.Instructions
		}
	}
	t.Fatalf("no request in %+v", played)
	return 0
}

// Instructions are the same each time, interpreted or compiled, and more of them
// are told to be more.
func TestPlayCounts(t *testing.T) {
	r := newRunner(t, Options{})
	count := func(thousands int, compile bool) uint64 {
		t.Helper()
		m := r.assemble(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.SlowDown, At: thousands})
		played, err := r.Play(t.Context(), Play{Filter: &definition.Filter{}, Module: m, Count: true, Compile: compile, Streams: []stream.Stream{get()}})
		if err != nil {
			t.Fatal(err)
		}
		return instructions(t, played)
	}
	one := count(1, false)
	if again, compiled := count(1, false), count(1, true); one == 0 || again != one || compiled != one {
		t.Errorf("%d instructions, then %d, and %d compiled", one, again, compiled)
	}
	if three := count(3, false); (three-one)%2000 != 0 || three < one+2000 {
		t.Errorf("%d instructions, with two thousand rounds more %d", one, three)
	}
}

// What a profile has is what go tool pprof says that it has.
func TestPlayProfile(t *testing.T) {
	r := newRunner(t, Options{})
	m := r.assemble(t, wasmtest.Filter{Header: "x-a", Value: "1", Fault: wasmtest.SlowDown, At: 1})
	played, err := r.Play(t.Context(), Play{Filter: &definition.Filter{}, Module: m, Profile: true, Streams: []stream.Stream{get()}})
	if err != nil {
		t.Fatal(err)
	}
	all := uint64(0)
	for _, c := range slices.Concat(played.Start.Callbacks, played.Streams[0].Callbacks, played.End.Callbacks) {
		all += c.Instructions
	}
	path := filepath.Join(t.TempDir(), "out.pb.gz")
	if err := os.WriteFile(path, played.Profile.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "go", "tool", "pprof", "-sample_index=instructions", "-raw", path).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "instructions/count[dflt] calls/count") || !strings.Contains(string(out), "proxy_on_request_headers") {
		t.Errorf("got %s", out)
	}
	_, samples, _ := strings.Cut(string(out), "calls/count\n")
	samples, _, _ = strings.Cut(samples, "Locations")
	sum := uint64(0)
	for line := range strings.Lines(samples) {
		n, err := strconv.ParseUint(strings.Fields(line)[0], 10, 64)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		sum += n
	}
	if all == 0 || sum != all {
		t.Errorf("the profile has %d instructions, the callbacks %d:\n%s", sum, all, out)
	}
}
