package e2e

import (
	"strconv"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// A swap takes some 20 ms until the directory has been read, then Envoy
// fetches the module, here for slowFetch, and then the slot is changed. The
// scenes below strike at these times after the file was written, and so in
// each phase of the swap.
const slowFetch = 150 * time.Millisecond

var strikes = []int{0, 10, 30, 60, 120, 180, 220, 300} // ms

// slowFleet is a fleet whose Envoys fetch modules, and reach the server,
// through proxies.
type slowFleet struct {
	*fleet
	modules, xds *harness.Proxy
}

func newSlowFleet(t *testing.T) *slowFleet {
	t.Helper()
	s := &slowFleet{fleet: newFleet(t)}
	for _, p := range []**harness.Proxy{&s.modules, &s.xds} {
		var err error
		*p, err = harness.StartProxy("")
		must(t, err)
		t.Cleanup(func() { must(t, (*p).Close()) })
	}
	s.write("web.yaml", s.listener("web"))
	s.hello("0")
	s.serve("--modules-url", "http://"+s.modules.Address())
	s.modules.Target(s.server.Addresses.Modules)
	s.modules.Delay(slowFetch, 0)
	s.xds.Target(s.server.Addresses.XDS)
	return s
}

// edge starts an Envoy that reaches the server through the proxy.
func (s *slowFleet) edge(c combination) *edge {
	s.t.Helper()
	return s.envoy(c, "edge-1", "--xds-address", s.xds.Address())
}

// struck plays a swap for each strike; the swap must come to its end.
func (s *slowFleet) struck(l *harness.Load, e *edge, strike func()) {
	s.t.Helper()
	s.seen(l, e.Started, "x-hello", "0")
	for i, ms := range strikes {
		value := strconv.Itoa(i + 1)
		start := s.hello(value)
		time.Sleep(time.Until(start.Add(time.Duration(ms) * time.Millisecond))) // the moment is the scene
		strike()
		took := s.seen(l, start, "x-hello", value)
		e.runs("hello")
		s.t.Logf("struck after %d ms: swapped after %v", ms, took.Round(time.Millisecond))
		if c := l.Counts(); c.Bad() > 0 {
			s.t.Fatalf("struck after %d ms: %v", ms, c)
		}
	}
	s.good(l)
}

// TestServerKilled: kill -9 and a new start at any moment of a swap.
func TestServerKilled(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		e := s.edge(c)
		s.struck(e.load("web", "x-hello"), e, s.restartServer)
	})
}

// TestConnectionCut: the stream between xds-server and Envoy breaks at any
// moment of a swap.
func TestConnectionCut(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		e := s.edge(c)
		s.struck(e.load("web", "x-hello"), e, s.xds.Cut)
	})
}

// TestDownloadCut: the download of the module breaks at any moment.
func TestDownloadCut(t *testing.T) {
	s := newSlowFleet(t)
	e := s.edge(newest())
	s.struck(e.load("web", "x-hello"), e, s.modules.Cut)
}

// TestEnvoyKilled: an Envoy that dies at any moment of a swap comes back with
// its filters: the first request that its new port answers passes them.
func TestEnvoyKilled(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		e := s.edge(c)
		l := e.load("web", "x-hello")
		s.struck(l, e, func() {
			l.Hold()
			e.Kill()
			must(t, e.Start(s.ctx))
			l.Target(e.address("web"))
		})
	})
}

// TestLateDownload: a module that the server has sent, and that reaches Envoy
// later: the server takes the download for ended when it is not. It must
// neither have Envoy fetch it over and over nor give up on it.
func TestLateDownload(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSlowFleet(t)
		s.modules.Delay(0, slowFetch)
		e := s.edge(c)
		l := e.load("web", "x-hello")
		s.seen(l, e.Started, "x-hello", "0")
		e.runs("hello")
		_, before, err := e.Answers(t.Context(), modulesCluster)
		must(t, err)
		for i := 1; i <= 3; i++ {
			start := s.hello(strconv.Itoa(i))
			took := s.seen(l, start, "x-hello", strconv.Itoa(i))
			e.runs("hello")
			_, after, err := e.Answers(t.Context(), modulesCluster)
			must(t, err)
			t.Logf("swapped after %v; %d fetches", took.Round(time.Millisecond), after-before)
			if took > 10*time.Second || after-before > 3 { // one that was given up comes later
				t.Errorf("want 10 s and 3 fetches at the most")
			}
			before = after
		}
		s.good(l)
	})
}

// TestServerAway: without xds-server the filters go on, and an Envoy that
// starts meanwhile has none of its listeners rather than unfiltered ones.
func TestServerAway(t *testing.T) {
	s := newSlowFleet(t)
	e := s.edge(newest())
	l := e.load("web", "x-hello")
	s.seen(l, e.Started, "x-hello", "0")
	s.server.Kill()
	fresh := s.envoy(newest(), "edge-2", "--xds-address", s.xds.Address())
	if _, err := fresh.Listener(t.Context(), "web"); err == nil {
		t.Error("a listener without xds-server")
	}
	must(t, s.server.Start(s.ctx))
	fresh2 := fresh.load("web", "x-hello")
	s.seen(fresh2, fresh.Started, "x-hello", "0")
	start := s.hello("1")
	s.seen(l, start, "x-hello", "1")
	s.seen(fresh2, start, "x-hello", "1")
	s.good(l)
	s.good(fresh2)
}
