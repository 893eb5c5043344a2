package xds

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// TestAwayIsBounded checks that a client that connects under ever new names costs no more
// than the limit, and that the oldest are removed first.
func TestAwayIsBounded(t *testing.T) {
	for name, label := range map[string]string{"many": "", "large": strings.Repeat("l", maxLabels-1)} {
		t.Run(name, func(t *testing.T) {
			a := newAway(state.View{})
			last := 0
			for i := range 2*awayMost + 7 {
				last = i
				a.went(definition.Node{ID: fmt.Sprint(i), Labels: map[string]string{"l": label}}, true, noon.Add(time.Duration(i)*time.Millisecond))
				if len(a.nodes) > awayMost || a.bytes > awayBytes {
					t.Fatalf("%d nodes of %d bytes", len(a.nodes), a.bytes)
				}
			}
			if a.nodes[fmt.Sprint(last)] == nil || a.nodes["0"] != nil {
				t.Error("not the oldest went")
			}
			total := 0
			for _, g := range a.nodes {
				total += g.node.Size()
			}
			if total != a.bytes || a.awaited != len(a.nodes) {
				t.Errorf("%d bytes are counted as %d, %d nodes as %d awaited", total, a.bytes, len(a.nodes), a.awaited)
			}
		})
	}
}

// TestEndsWhileSaved checks that the next process knows an Envoy whose stream ends while the
// final state is saved, just after the time of that was read.
func TestEndsWhileSaved(t *testing.T) {
	dir := t.TempDir()
	first := statetest.Start(t, dir)
	s := New(Options{State: first.Writer, Now: func() time.Time { return noon }})
	s.away.went(definition.Node{ID: "a"}, true, noon.Add(time.Millisecond))
	s.keepAll(noon)
	first.End()
	next := New(Options{State: statetest.Start(t, dir).Writer, Now: func() time.Time { return noon }})
	if g := next.away.nodes["a"]; !g.returns(noon) {
		t.Errorf("it is known as %+v", g)
	}
}

// TestAwayIsRead checks that the time away continues from where it ended, whenever the next
// server starts, and that a damaged file doesn't affect what can still be read.
func TestAwayIsRead(t *testing.T) {
	dir := t.TempDir()
	first := statetest.Start(t, dir)
	written := newAway(first.View("nodes/"))
	for _, n := range []knownNode{
		{ID: "connected", Cluster: "edge", Labels: map[string]string{"app": "web"}, Seen: noon},
		{ID: "away", Seen: noon, Away: 90 * time.Second},
		{ID: "long-away", Seen: noon, Away: 50 * time.Minute},
		{ID: "forgotten", Seen: noon, Away: awayKeep},
	} {
		written.keep(n, n.Away > 0)
	}
	first.View("nodes/").PutBytes("cut", []byte(`{"id": "cut o`))
	first.View("nodes/").PutBytes("another's", []byte(`{"id": "another"}`))
	first.End()
	p := statetest.Start(t, dir)
	a, started := newAway(p.View("nodes/")), noon.Add(48*time.Hour)
	a.load(t.Context(), started, slog.New(slog.DiscardHandler))
	left := func(want int) {
		t.Helper()
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := p.Written(t, "nodes/"); len(got) != want || len(a.known.nodes) != want {
			t.Errorf("kept %q, want %d", got, want)
		}
	}
	left(3)
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
	left(0)
	if a.bytes != 0 || a.awaited != 0 || a.known.bytes != 0 || a.known.away != 0 {
		t.Errorf("%d bytes, %d awaited of none; kept %+v", a.bytes, a.awaited, a.known)
	}
}

// TestWhoIsBackSoonIsNotWritten checks that a fleet that reconnects immediately causes no
// writes, and that a node that stays away, or returns with other labels, is written.
func TestWhoIsBackSoonIsNotWritten(t *testing.T) {
	p := statetest.Start(t, t.TempDir())
	a := newAway(p.View("nodes/"))
	read := func() knownNode {
		t.Helper()
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		var n knownNode
		if err := json.Unmarshal([]byte(p.Written(t, "nodes/")["edge"]), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	node := func(label string) definition.Node {
		return definition.Node{ID: "edge", Cluster: "c", Labels: map[string]string{"app": label, "b": "c"}}
	}
	a.came(node("web"), noon)
	a.went(node("web"), true, noon.Add(time.Minute))
	a.came(node("web"), noon.Add(time.Minute+time.Second))
	a.went(node("web"), true, noon.Add(2*time.Minute))
	a.pass(noon.Add(2*time.Minute + awayWrite - time.Second))
	if n := read(); !n.Seen.Equal(noon) || n.Away != 0 {
		t.Errorf("who was back soon is written: %+v", n)
	}
	if a.known.away != 1 {
		t.Errorf("%d nodes are away that may make room, want 1", a.known.away)
	}
	a.pass(noon.Add(2*time.Minute + awayWrite))
	if n := read(); n.Away != awayWrite || !n.Seen.Equal(noon.Add(2*time.Minute)) {
		t.Errorf("who stays away is kept as %+v", n)
	}
	a.came(node("web"), noon.Add(3*time.Minute))
	if n := read(); n.Away != 0 || !n.Seen.Equal(noon.Add(3*time.Minute)) {
		t.Errorf("who was away and is back is kept as %+v", n)
	}
	a.went(node("web"), true, noon.Add(4*time.Minute))
	a.came(node("db"), noon.Add(4*time.Minute+time.Second))
	if n := read(); n.Labels["app"] != "db" {
		t.Errorf("who comes with other labels is kept as %+v", n)
	}
}

// TestKnownNodesAreBounded checks that nodes with a stream stay, and that those that were
// away longest are removed first.
func TestKnownNodesAreBounded(t *testing.T) {
	for name, label := range map[string]string{"many": "", "large": strings.Repeat("l", maxLabels-1)} {
		t.Run(name, func(t *testing.T) {
			p := statetest.Start(t, t.TempDir())
			a := newAway(p.View("nodes/"))
			labels := map[string]string{"l": label}
			for i := range 100 {
				a.came(definition.Node{ID: fmt.Sprint("connected-", i), Labels: labels}, noon)
			}
			n := 2 * awayBytes / maxLabels
			if label == "" {
				n = awayMost + 1000
			}
			last := ""
			for i := range n {
				last = fmt.Sprint("away-", i)
				a.went(definition.Node{ID: last, Labels: labels}, true, noon.Add(time.Duration(i)*time.Millisecond))
				if len(a.known.nodes) > awayMost || a.known.bytes > awayBytes {
					t.Fatalf("%d nodes of %d bytes", len(a.known.nodes), a.known.bytes)
				}
			}
			_, newest := a.known.nodes[last]
			_, oldest := a.known.nodes["away-0"]
			_, connected := a.known.nodes["connected-0"]
			if !newest || oldest || !connected {
				t.Errorf("kept: newest %t, oldest %t, connected %t", newest, oldest, connected)
			}
			if err := p.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if kept := len(p.Written(t, "nodes/")); kept != len(a.known.nodes) {
				t.Errorf("%d are kept, %d counted", kept, len(a.known.nodes))
			}
			next := newAway(p.View("nodes/"))
			next.load(t.Context(), noon, slog.New(slog.DiscardHandler))
			if len(next.nodes) != len(a.known.nodes) || next.known.bytes != a.known.bytes {
				t.Errorf("the next one knows %d of %d", len(next.nodes), len(a.known.nodes))
			}
		})
	}
}
