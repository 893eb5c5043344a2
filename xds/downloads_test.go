package xds_test

import (
	"net/netip"
	"testing"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// fetching connects Envoys from these addresses, each of which then downloads hello's v2.
// The clock stands still, so that only a download causes another push.
func fetching(t *testing.T, delta bool, from ...string) (*scene, *clock, []*envoy) {
	t.Helper()
	c := newClock()
	s := start(t, xds.Options{Now: c.Now})
	s.publish(t, hello1)
	var envoys []*envoy
	for i, address := range from {
		e := newEnvoy(t, string(rune('a'+i)), delta)
		e.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
		e.connect(s.dial(t, address))
		s.settled(t, e.id)
		e.ready()
		envoys = append(envoys, e)
	}
	s.publish(t, hello2)
	for _, e := range envoys {
		e.expect("ECDS primer/hello: Unable to create Wasm plugin hello")
		eventually(t, e.id+"'s NACK taken", func() bool { n, _ := s.node(e.id); return len(n.NACKs) == 1 })
	}
	return s, c, envoys
}

// download reports the progress of hello's v2 for an address.
func (s *scene) download(from string, progress swap.Progress) {
	s.downloaded(from, moduleOf("hello", "v2"), progress)
}

func TestDownloadWakesItsEnvoy(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s, c, e := fetching(t, delta, "127.0.0.1", "127.0.0.2")
		for i, address := range []string{"127.0.0.2", "127.0.0.1"} {
			mine := e[1-i]
			s.download(address, swap.DownloadStarted)
			mine.has(moduleOf("hello", "v2")) // the other would still reject it
			s.download(address, swap.DownloadDone)
			c.advance(50 * time.Millisecond)
			mine.expect("ECDS primer/hello", "ECDS web#0=hello")
		}
		s.settled(t, "a")
		s.settled(t, "b")
	})
}

// TestDownloadsOfOneAddress checks that Envoys behind one address are sent nothing until all
// their downloads are done, because the server can't know which is whose.
func TestDownloadsOfOneAddress(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s, c, e := fetching(t, delta, "127.0.0.1", "127.0.0.1")
		s.download("127.0.0.1", swap.DownloadStarted)
		s.download("127.0.0.1", swap.DownloadStarted)
		s.download("127.0.0.1", swap.DownloadDone)
		c.advance(50 * time.Millisecond)
		select {
		case line := <-e[0].events:
			t.Fatalf("a was sent %q, and half of the downloads go on", line)
		case line := <-e[1].events:
			t.Fatalf("b was sent %q, and half of the downloads go on", line)
		case <-time.After(200 * time.Millisecond):
		}
		for _, e := range e {
			e.has(moduleOf("hello", "v2"))
		}
		s.download("127.0.0.1", swap.DownloadDone)
		c.advance(50 * time.Millisecond)
		for _, e := range e {
			e.expect("ECDS primer/hello", "ECDS web#0=hello")
		}
	})
}

// TestDownloadOfNobody checks that a download that no Envoy waits for has no effect.
func TestDownloadOfNobody(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		for _, progress := range []swap.Progress{swap.DownloadStarted, swap.DownloadAborted, swap.DownloadDone} {
			s.download("127.0.0.1", progress) // no Envoy at all
		}
		e := s.up(t, "a", delta)
		for _, progress := range []swap.Progress{swap.DownloadDone, swap.DownloadStarted, swap.DownloadDone, swap.DownloadAborted} {
			s.download("127.0.0.1", progress)
		}
		e.has(moduleOf("hello", "v2"))
		s.publish(t, hello2)
		e.expect("ECDS primer/hello", "ECDS web#0=hello")
	})
}

// downloaded reports the progress of a module for an address.
func (s *scene) downloaded(from, sha256 string, progress swap.Progress) {
	s.Downloaded(netip.MustParseAddr(from), swap.Download{SHA256: sha256, Progress: progress, Size: 1000})
}
