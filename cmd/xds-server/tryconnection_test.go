package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/try"
)

// TestOnlyConnections: a module that has callbacks for nothing else is a network filter.
func TestOnlyConnections(t *testing.T) {
	dir := t.TempDir()
	store, err := module.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &workshop{store: store}
	for name, c := range map[string]struct {
		content []byte
		want    bool
	}{
		"network.wasm": {wasmtest.Filter{Network: true, Value: "a"}.Module(), true},
		"http.wasm":    {wasmtest.Filter{Header: "x-a", Value: "a"}.Module(), false},
		"none.wasm":    {[]byte("text"), false},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, c.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := w.onlyConnections(path); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
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
