package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// daylong is a listener that is drained for a day.
func daylong(since time.Time) *swap.Draining {
	return &swap.Draining{Since: since, Until: since.Add(24 * time.Hour)}
}

func TestTable(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	st := &admin.Status{
		Definitions: admin.Definitions{Loaded: 3, Errors: []definition.Problem{
			{File: "other.yaml", Line: 7, Field: "module.sha256", Message: "63 hex digits, needs 64", Hint: "sha256sum other.wasm prints it"}},
			Warnings: []definition.Problem{{File: "hello.yaml", Line: 1, Message: "no listener matches", Warning: true}}},
		Envoys: xds.NodeCount{Connected: 3, Away: 1, Awaited: 1},
		Replicas: []admin.Replica{
			{ID: "k3j2mq7a", Address: "10.0.0.5:18002", Self: true, Lives: true, Stand: "leads"},
			{ID: "p5x7c2ne", Address: "10.0.0.6:18002", Lives: true, Stand: "follows", Trouble: "the leader can't reach it: no wave begins"},
			{ID: "zzqk4w2b", Address: "10.0.0.7:18002", Stand: "follows", Trouble: "it has not been seen for a while"},
		},
		Filters: []admin.Filter{
			{Name: "hello", Version: "82986c2cdd8e0cfd", SHA256: "8490c04a6f6d1234567890", State: module.Good, FilterCount: xds.FilterCount{Nodes: 3, Running: 2, Pending: 1}},
			{Name: "other", State: module.Failed, Reason: "other.wasm is an HTML page, not a Wasm module", FilterCount: xds.FilterCount{Nodes: 1, Failed: 1}},
		},
		Nodes: []xds.NodeStatus{
			{ID: "edge-1", Filters: []swap.FilterStatus{
				{Name: "hello", Wanted: "82986c2cdd8e0cfd", Running: "82986c2cdd8e0cfd", State: swap.Running, Since: now.Add(-90 * time.Second), Draining: daylong(now.Add(-90 * time.Second))},
				{Name: "other", State: swap.Failed, Reason: "other.wasm is an HTML page, not a Wasm module"}},
				Listeners: []swap.ListenerStatus{{Name: "web", Wanted: "b2", Running: "b2"}, {Name: "api", Wanted: "c3", Reason: "waiting for its filter other"},
					{Name: "old", Wanted: "d4", Running: "d4", Draining: daylong(now.Add(-13 * time.Hour))},
					{Name: "older", Wanted: "d5", Running: "d4", Reason: "it is on its way", Draining: &swap.Draining{}}}},
			{ID: "edge-2", Filters: []swap.FilterStatus{
				{Name: "hello", Wanted: "82986c2cdd8e0cfd", Running: "9f26e3fc1dcf9aae", State: swap.Fetching, Since: now.Add(-26 * time.Hour), Reason: "Envoy downloads the module 8490c04a6f6d; it keeps running 9f26e3fc1dcf9aae"}}},
			{ID: "edge-3", AwaySince: now.Add(-65 * time.Second), Awaited: true, Filters: []swap.FilterStatus{
				{Name: "hello", Wanted: "82986c2cdd8e0cfd", State: swap.Away, Reason: "it has disconnected, and may reconnect"}}},
			{ID: "edge-4", Filters: []swap.FilterStatus{
				{Name: "hello", Wanted: "82986c2cdd8e0cfd", Running: "9f26e3fc1dcf9aae", State: swap.Failed, Since: now.Add(-time.Hour), Reason: "its VM crashed too often on this Envoy",
					Crashes: &swap.Crashes{Version: "82986c2cdd8e0cfd", Count: 3, Last: now.Add(-time.Hour), Replaced: now.Add(-2 * time.Hour), WentBack: true}},
				{Name: "other", Wanted: "a1", Running: "a1", State: swap.Running, Since: now.Add(-2 * time.Hour),
					Crashes: &swap.Crashes{Version: "a1", Count: 1, Last: now.Add(-time.Hour), Replaced: now.Add(-time.Hour)}}}},
			{ID: "plain", ConnectedSince: now.Add(-72 * time.Hour)},
		},
	}
	for i, node := range []string{"mallory", "", "eve", "eve"} {
		st.TurnedAway = append(st.TurnedAway, xds.TurnedAway{Node: node, Peer: fmt.Sprintf("10.0.0.%d:4711", i), Reason: "the client does not use TLS", Last: now.Add(-time.Minute), Times: i + 1})
	}
	var got bytes.Buffer
	if err := printTable(&got, st, shown{}, now); err != nil {
		t.Fatal(err)
	}
	golden(t, "table.txt", got.Bytes())
}

// TestTableOfMany: of many Envoys and filters a screen is shown, with what is wrong first.
func TestTableOfMany(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	st := &admin.Status{Definitions: admin.Definitions{Loaded: 8}, Envoys: xds.NodeCount{Connected: 503}}
	for i := range 30 {
		st.Definitions.Errors = append(st.Definitions.Errors, definition.Problem{File: fmt.Sprintf("%d.yaml", i), Line: 1, Message: "is no definition"})
	}
	for i := range 7 {
		st.Filters = append(st.Filters, admin.Filter{Name: fmt.Sprintf("filter-%d", i), Version: "a1", SHA256: "8490c04a6f6d", State: module.Good, FilterCount: xds.FilterCount{Nodes: 503, Running: 503}})
	}
	for i := range 503 {
		n := xds.NodeStatus{ID: fmt.Sprintf("edge-%03d", i), Labels: map[string]string{"tier": []string{"canary", "main"}[i%2]}}
		for j := range 7 {
			f := swap.FilterStatus{Name: fmt.Sprintf("filter-%d", j), Wanted: "a1", Running: "a1", State: swap.Running, Since: now.Add(-time.Hour)}
			switch {
			case j == 3 && i%20 == 7: // 25 of them
				f.State, f.Running, f.Reason = swap.Failed, "a0", "Envoy rejects the module"
			case j == 5 && i == 100:
				f.State, f.Running, f.Reason = swap.Fetching, "a0", "Envoy downloads the module"
			}
			n.Filters = append(n.Filters, f)
		}
		st.Nodes = append(st.Nodes, n)
	}
	for name, show := range map[string]shown{
		"many":     {},
		"canaries": {labels: map[string]string{"tier": "canary"}},
		"fetching": {states: []string{"fetching"}},
		"filter-3": {filter: "filter-3"},
		"all":      {all: true},
	} {
		var got bytes.Buffer
		if err := printTable(&got, st, show, now); err != nil {
			t.Fatal(err)
		}
		lines := bytes.Count(got.Bytes(), []byte("\n"))
		if show.all {
			if lines < 503*7 {
				t.Errorf("all: %d lines", lines)
			}
			continue
		}
		if lines > 60 {
			t.Errorf("%s: %d lines", name, lines)
		}
		golden(t, "table-"+name+".txt", got.Bytes())
	}
}

// golden compares with a file in testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
	}
}
