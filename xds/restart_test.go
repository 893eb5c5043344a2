package xds_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/state/statetest"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestListenerIsKeptAcrossServers changes a listener while there is no server. Its new
// filter must be downloaded first. Meanwhile a state-of-the-world Envoy must keep the old
// listener, which the next server knows only from the state.
func TestListenerIsKeptAcrossServers(t *testing.T) {
	transports(t, func(t *testing.T) {
		dir := t.TempDir()
		process := statetest.Start(t, dir)
		first := start(t, xds.Options{State: process.Writer})
		first.publish(t, "listener web\nfilter hello v1 web")
		e := first.up(t, "a", false)
		eventually(t, "the primer and web kept", func() bool {
			return len(process.Written(t, "listeners/")) >= 2
		})
		first.end()
		e.leave()

		process.End()
		next := start(t, xds.Options{State: statetest.Start(t, dir).Writer})
		next.publish(t, "listener web 9000 9001\nfilter hello v1 web\nfilter third v1 web")
		e.connect(next.dial(t, ""))
		e.expect("CDS 127.0.0.1:9000 127.0.0.1:9001 wasmxds-modules", "LDS primer web")
		e.expect("ECDS primer/third: Unable to create Wasm plugin third")
		e.mu.Lock()
		names := slices.Clone(e.names[swap.Extension])
		e.mu.Unlock()
		if !slices.Contains(names, "primer/third") || slices.ContainsFunc(names, isSecondSlot) {
			t.Errorf("it asks for %q: web is not the old one", names)
		}
		sha := moduleOf("third", "v1")
		next.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadStarted})
		e.has(sha)
		next.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadDone, Size: 1000})
		e.expect("ECDS primer/third", "LDS primer web", "ECDS web#0=hello web#1=third")
		next.settled(t, "a")
	})
}

// isSecondSlot reports whether a name is that of a listener's second slot.
func isSecondSlot(name string) bool {
	_, id, own := resource.SlotOf(name)
	return own && strings.HasSuffix(name, id+"/1")
}

// TestStableListenerStays checks that the bytes that an Envoy has are kept, however long
// ago they were sent.
func TestStableListenerStays(t *testing.T) {
	dir, c := t.TempDir(), newClock()
	process := statetest.Start(t, dir)
	s := start(t, xds.Options{State: process.Writer, Now: c.Now})
	s.publish(t, "listener web\nfilter hello v1 web")
	e := s.up(t, "a", false)
	eventually(t, "the primer and web kept", func() bool { return len(process.Written(t, "listeners/")) >= 2 })
	c.advance(40 * 24 * time.Hour)
	s.end()
	e.leave()
	process.End()
	process = statetest.Start(t, dir)
	start(t, xds.Options{State: process.Writer, Now: c.Now})
	if err := process.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept := process.Written(t, "listeners/"); len(kept) < 2 {
		t.Errorf("of two listeners %d are kept", len(kept))
	}
}
