package xds_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestListenerIsKeptAcrossServers: a listener changes while no server is there,
// and its new filter has to be fetched first. Meanwhile a state-of-the-world
// Envoy is to keep the old one, which the next server knows from the folder
// alone.
func TestListenerIsKeptAcrossServers(t *testing.T) {
	transports(t, func(t *testing.T) {
		dir := t.TempDir()
		first := start(t, xds.Options{Dir: dir})
		first.publish(t, "listener web\nfilter hello v1 web")
		e := first.up(t, "a", false)
		eventually(t, "the primer and web kept", func() bool {
			kept, err := filepath.Glob(filepath.Join(dir, "listeners", "*.json"))
			return err == nil && len(kept) >= 2
		})
		first.end()
		e.leave()

		next := start(t, xds.Options{Dir: dir})
		next.publish(t, "listener web 9000 9001\nfilter hello v1 web\nfilter third v1 web")
		e.connect(next.dial(t, ""))
		e.expect("CDS 127.0.0.1:9000 127.0.0.1:9001 wasmxds-modules", "LDS primer web")
		e.expect("ECDS primer/third: Unable to create Wasm plugin third")
		e.mu.Lock()
		names := slices.Clone(e.names[swap.Extension])
		e.mu.Unlock()
		if !slices.Contains(names, "primer/third") || slices.Contains(names, "third") {
			t.Errorf("it asks for %q: web is not the old one", names)
		}
		sha := moduleOf("third", "v1")
		next.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadStarted})
		e.has(sha)
		next.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadDone, Size: 1000})
		e.expect("ECDS primer/third", "LDS primer web", "ECDS third")
		next.settled(t, "a")
	})
}

// TestStableListenerStays: what an Envoy has is kept, however long ago it was
// sent.
func TestStableListenerStays(t *testing.T) {
	dir := t.TempDir()
	files := func() []string {
		kept, err := filepath.Glob(filepath.Join(dir, "listeners", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		return kept
	}
	s := start(t, xds.Options{Dir: dir})
	s.publish(t, "listener web\nfilter hello v1 web")
	e := s.up(t, "a", false)
	eventually(t, "the primer and web kept", func() bool { return len(files()) >= 2 })
	sent := files()
	long := time.Now().Add(-40 * 24 * time.Hour)
	for _, file := range sent {
		if err := os.Chtimes(file, long, long); err != nil {
			t.Fatal(err)
		}
	}
	s.end()
	e.leave()
	start(t, xds.Options{Dir: dir})
	if kept := files(); len(kept) < 2 {
		t.Errorf("of %d listeners %d are kept", len(sent), len(kept))
	}
}
