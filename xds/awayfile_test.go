package xds

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// TestAwayIsBounded: whoever connects under ever new names costs no more than
// this, and pushes out the oldest first.
func TestAwayIsBounded(t *testing.T) {
	for name, label := range map[string]string{"many": "", "large": strings.Repeat("l", maxLabels-1)} {
		t.Run(name, func(t *testing.T) {
			a := newAway()
			last := 0
			for i := range 2*awayMost + 7 {
				last = i
				a.went(definition.Node{ID: fmt.Sprint(i), Labels: map[string]string{"l": label}}, noon.Add(time.Duration(i)*time.Millisecond))
				if len(a.nodes) > awayMost || a.bytes > awayBytes {
					t.Fatalf("%d nodes of %d bytes", len(a.nodes), a.bytes)
				}
			}
			if a.nodes[fmt.Sprint(last)] == nil || a.nodes["0"] != nil {
				t.Error("not the oldest went")
			}
			total := 0
			for _, g := range a.nodes {
				total += size(g.node)
			}
			if total != a.bytes || a.awaited != len(a.nodes) {
				t.Errorf("%d bytes are counted as %d, %d nodes as %d awaited", total, a.bytes, len(a.nodes), a.awaited)
			}
		})
	}
}

// TestAwayIsRead: time away counts on where it ended, whenever the next server
// starts, and a damaged file takes nothing with it that can still be read.
func TestAwayIsRead(t *testing.T) {
	f := &nodesFile{filepath.Join(t.TempDir(), "nodes.json"), slog.New(slog.DiscardHandler)}
	if err := f.write([]knownNode{
		{ID: "connected", Cluster: "edge", Labels: map[string]string{"app": "web"}, Seen: noon},
		{ID: "away", Seen: noon, Away: 90 * time.Second},
		{ID: "long-away", Seen: noon, Away: 50 * time.Minute},
		{ID: "forgotten", Seen: noon, Away: awayKeep},
	}); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("{\"id\": \"cut o"); err != nil {
		t.Fatal(err)
	}
	file.Close()
	a, started := newAway(), noon.Add(48*time.Hour)
	f.load(a, started)
	check := func(after time.Duration, want map[string]bool) {
		t.Helper()
		a.pass(started.Add(after))
		got := map[string]bool{}
		for id, g := range a.nodes {
			got[id] = g.awaited
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
	}
	check(0, map[string]bool{"connected": true, "away": true, "long-away": false})
	if n := a.nodes["connected"]; !n.seen.Equal(noon) || n.node.Cluster != "edge" || n.node.Labels["app"] != "web" {
		t.Errorf("%+v", n)
	}
	check(31*time.Second, map[string]bool{"connected": true, "away": false, "long-away": false})
	check(11*time.Minute, map[string]bool{"connected": false, "away": false})
	check(awayKeep, map[string]bool{})
	if a.bytes != 0 || a.awaited != 0 {
		t.Errorf("%d bytes, %d awaited of none", a.bytes, a.awaited)
	}
}
