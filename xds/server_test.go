package xds_test

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// both runs a test with both protocols and both transports, in parallel with others.
func both(t *testing.T, test func(t *testing.T, delta bool)) {
	t.Parallel()
	for name, delta := range map[string]bool{"sotw": false, "delta": true, "sotw over h2": false, "delta over h2": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, delta)
		})
	}
}

const hello1 = `
listener web
filter hello v1 web
filter other v1 web
`

const hello2 = `
listener web
filter hello v2 web
filter other v1 web
`

// up connects an Envoy that has its modules, and waits until it has what hello1 describes.
func (s *scene) up(t *testing.T, id string, delta bool) *envoy {
	t.Helper()
	e := newEnvoy(t, id, delta)
	e.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
	e.connect(s.dial(t, ""))
	s.settled(t, id)
	e.ready()
	return e
}

// settled waits until a node runs all that it should.
func (s *scene) settled(t *testing.T, id string) {
	t.Helper()
	eventually(t, id+" runs all", func() bool {
		n, ok := s.node(id)
		for _, f := range n.Filters {
			ok = ok && f.State == swap.Running
		}
		for _, l := range n.Listeners {
			ok = ok && l.Running == l.Wanted
		}
		return ok && len(n.Filters) > 0
	})
}

func TestFreshEnvoy(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, "listener web\nfilter hello v1 web")
		e := newEnvoy(t, "fresh", delta)
		e.connect(s.dial(t, ""))
		e.expect(
			"CDS 127.0.0.1:9000 wasmxds-modules",
			"LDS primer",
			"ECDS primer/hello: Unable to create Wasm plugin hello",
		)
		sha := moduleOf("hello", "v1")
		s.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadStarted})
		e.has(sha)
		s.Downloaded(loopback, swap.Download{SHA256: sha, Progress: swap.DownloadDone, Size: 1000})
		e.expect("ECDS primer/hello")
		if delta {
			e.expect("LDS web")
		} else {
			e.expect("LDS primer web")
		}
		e.expect("ECDS web#0=hello", "RDS primer/gate routes/web")
		s.settled(t, "fresh")
		n, _ := s.node("fresh")
		if want := map[bool]string{true: "delta", false: "sotw"}[delta]; n.Cluster != "test" || n.Protocol != want || n.ConnectedSince.IsZero() {
			t.Errorf("the node is told as %+v", n)
		}
	})
}

func TestChangeReachesOnlyItsFilter(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		e.has(moduleOf("hello", "v2"))
		s.publish(t, hello2)
		e.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "a")
		s.publish(t, hello1) // anything else on its way would arrive before this
		e.expect("ECDS primer/hello", "ECDS web#0=hello")
	})
}

func TestSwappedIsTold(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		swaps := make(chan xds.Swap, 10)
		s := start(t, xds.Options{Swapped: func(all xds.Swaps) {
			for sw := range all.All() {
				swaps <- sw
			}
		}})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		e.has(moduleOf("hello", "v2"))
		s.publish(t, hello2)
		for _, stage := range []swap.Stage{swap.ChangePrimed, swap.ChangeSwapped} {
			select {
			case sw := <-swaps:
				if sw.Node != "a" || sw.Filter != "hello" || sw.From == sw.To || sw.Stage != stage {
					t.Errorf("told of %+v, want %s", sw, stage)
				}
			case <-time.After(within):
				t.Fatalf("nobody was told that it is %s", stage)
			}
		}
	})
}

// TestSpares checks that filters are added and removed, and routes changed, through the
// listener's slots and routes. The listener itself stays unchanged, on this server and on
// the next.
func TestSpares(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, "spares 1\nlistener web\nfilter hello v1 web")
		e := s.up(t, "a", delta)
		n, _ := s.node("a")
		web := n.Listeners[0].Running
		primer, added, gone := "LDS primer", "CDS 127.0.0.1:9001", "CDS -127.0.0.1:9000"
		if !delta { // each response contains all
			primer = "LDS primer web"
			added, gone = "CDS 127.0.0.1:9000 127.0.0.1:9001 wasmxds-modules", "CDS 127.0.0.1:9001 wasmxds-modules"
		}

		s.publish(t, "spares 1\nlistener web\nfilter hello v1 web\nfilter other v1 web")
		e.expect(primer, "ECDS primer/other", "ECDS web#2=other")
		s.settled(t, "a")

		s.publish(t, "spares 1\nlistener web 9001 9001\nfilter hello v1 web\nfilter other v1 web")
		e.expect(added, "RDS routes/web", gone)

		s.publish(t, "spares 1\nlistener web 9001 9001\nfilter other v1 web")
		e.expect(primer, "ECDS web#1=nothing")

		s.settled(t, "a")
		if n, _ = s.node("a"); n.Listeners[0].Running != web || n.Listeners[0].Draining != nil {
			t.Errorf("the listener was %s and is %+v", web, n.Listeners[0])
		}
	})
}

func TestReconnectWithAllOfIt(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		first := start(t, xds.Options{})
		first.publish(t, hello1)
		second := start(t, xds.Options{})
		second.publish(t, hello1) // compiled again: the same content, the same versions
		e := first.up(t, "a", delta)
		for _, s := range []*scene{first, second} {
			e.leave()
			e.connect(s.dial(t, ""))
			s.settled(t, "a")
			e.has(moduleOf("other", "v2"))
			s.publish(t, "listener web\nfilter hello v1 web\nfilter other v2 web")
			e.expect("ECDS primer/other", "ECDS web#1=other") // nothing arrived before it
			s.publish(t, hello1)
			e.expect("ECDS primer/other", "ECDS web#1=other")
			s.settled(t, "a")
		}
	})
}

func TestRunEndsStreams(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		unpublished := start(t, xds.Options{})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		waiting := newEnvoy(t, "waiting", delta) // for the first publication
		waiting.connect(unpublished.dial(t, ""))
		for _, s := range []*scene{s, unpublished} {
			s.end()
			if err := s.asked(t, delta, []*ask{{typeURL: swap.Cluster.URL()}}); status.Code(err) != codes.Unavailable {
				t.Errorf("a stream after Run ends with %v, want Unavailable", err)
			}
		}
		for _, ended := range []chan error{e.ended, waiting.ended} {
			select {
			case err := <-ended:
				ended <- err
			case <-time.After(within):
				t.Fatal("a stream goes on after Run")
			}
		}
		eventually(t, "without streams", func() bool { return s.Stats().Streams == 0 })
	})
}
