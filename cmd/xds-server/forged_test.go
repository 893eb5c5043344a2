package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/printable"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestForgedRows: no text of others makes a row, or what looks like a column.
func TestForgedRows(t *testing.T) {
	const forged = "edge-9\thello\trunning\nedge-9  hello  running\r\x1b[A\v\f\u2028edge-9"
	st := &admin.Status{
		Ready:       true,
		Definitions: admin.Definitions{Errors: []definition.Problem{{File: forged, Message: forged, Hint: forged}}},
		Filters:     []admin.Filter{{Name: forged, Version: forged, SHA256: forged, State: module.Failed, Reason: forged}},
		Nodes: []xds.NodeStatus{{
			ID:        forged,
			Filters:   []swap.FilterStatus{{Name: forged, State: forged, Running: forged, Wanted: forged, Reason: forged}},
			Listeners: []swap.ListenerStatus{{Name: forged, Wanted: forged, Reason: forged}},
		}, {ID: forged}},
	}
	var table, missing bytes.Buffer
	if err := printTable(&table, st, shown{}, time.Now()); err != nil {
		t.Fatal(err)
	}
	printMissing(&missing, st, forged, forged, admin.Quorum{Min: 1})
	for what, c := range map[string]struct {
		out   string
		lines int
	}{
		"table":   {table.String(), 11}, // a head, a problem and its hint, and two tables of head and rows, after empty lines
		"missing": {missing.String(), 4},
	} {
		if n := strings.Count(c.out, "\n"); n != c.lines || printable.Lines(c.out) != c.out {
			t.Errorf("%s: %d lines, want %d:\n%s", what, n, c.lines, c.out)
		}
		for line := range strings.Lines(c.out) {
			if strings.HasPrefix(line, "edge-9") {
				t.Errorf("%s: %q could be a row", what, line)
			}
		}
	}
}
