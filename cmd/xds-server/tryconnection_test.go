package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/try"
)

// TestOnlyConnections: a module that has callbacks for nothing else is a network filter, also if
// its file is replaced all the time: what is looked at is what is tried.
func TestOnlyConnections(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "filter.wasm")
	put := func(i int) error {
		m := wasmtest.Filter{Network: i%2 == 0, Header: "x-a", Value: strconv.Itoa(i)}
		next := filepath.Join(dir, "next")
		return errors.Join(os.WriteFile(next, m.Module(), 0o600),
			os.Chtimes(next, time.Time{}, time.Now().Add(-time.Hour)), // so that nobody waits for it to be complete
			os.Rename(next, path))
	}
	if err := put(0); err != nil {
		t.Fatal(err)
	}
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	stop, ended := make(chan struct{}), make(chan error)
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				ended <- nil
				return
			case <-again.C:
			}
			if err := put(i); err != nil {
				ended <- err
				return
			}
		}
	}()
	defer func() {
		close(stop)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	seen := map[bool]int{}
	for range 40 {
		f := tryFlags{timeout: time.Minute}
		w, err := f.workshop(t.Context(), []string{path})
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.subject(t.Context(), &f, []string{path})
		if err != nil && strings.Contains(err.Error(), "again and again") { // on a slow machine
			w.close()
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		wants, err := w.store.Wants(s.Module.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if network := !wants.Requests(); s.Filter.Place.Network != network {
			t.Errorf("tried as a network filter: %v, but the module is one: %v", s.Filter.Place.Network, network)
		}
		seen[s.Filter.Place.Network]++
		w.close()
	}
	if len(seen) != 2 {
		t.Errorf("only one of the two modules was seen: %v", seen)
	}
}

// TestHint: a filter that crashes with its first request may be a network filter.
func TestHint(t *testing.T) {
	const crash = "proxy_on_request_headers trapped: unreachable"
	for _, c := range []struct {
		name                       string
		network, bare, connections bool
		crash, want                string
	}{
		{"a module", false, true, true, crash, "--downstream"},
		{"a definition", false, false, true, crash, "place: network"},
		{"no callbacks for connections", false, true, false, crash, ""},
		{"a network filter", true, true, true, crash, ""},
		{"a later crash", false, true, true, "proxy_on_response_headers trapped: unreachable", ""},
		{"none", false, true, true, "", ""},
	} {
		s := &subject{bare: c.bare, connections: c.connections}
		s.Filter = &definition.Filter{Name: "a", Place: definition.Place{Network: c.network}}
		o := try.Outcome{Failures: []definition.Problem{{Message: "a"}}}
		o.Result.Crash = c.crash
		s.hint(&o)
		if !strings.Contains(o.Hint, c.want) || (o.Hint == "") != (c.want == "") || o.Failures[0].Hint != o.Hint {
			t.Errorf("%s: got %q, of the failure %q", c.name, o.Hint, o.Failures[0].Hint)
		}
	}
}
