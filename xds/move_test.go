package xds_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// knowing returns the metadata of an Envoy that knows a number of servers.
func knowing(t *testing.T, servers any) *structpb.Struct {
	t.Helper()
	meta, err := structpb.NewStruct(map[string]any{"wasmxds": map[string]any{"replicas": servers}})
	if err != nil {
		t.Fatal(err)
	}
	return meta
}

// roaming connects an Envoy that knows two servers, and waits until it is up to date.
func (s *scene) roaming(t *testing.T, id string, delta bool) *envoy {
	t.Helper()
	e := newEnvoy(t, id, delta)
	e.meta = knowing(t, 2)
	e.has(moduleOf("hello", "v1"))
	e.connect(s.dial(t, ""))
	s.settled(t, id)
	return e
}

// TestMove checks that the requested number of Envoys is moved, only of those that have
// another server to go to, are up to date, and have not just connected. They return with
// all that they had.
func TestMove(t *testing.T) {
	transports(t, func(t *testing.T) {
		for _, delta := range []bool{true, false} {
			t.Run(fmt.Sprint("delta ", delta), func(t *testing.T) {
				c := newClock()
				s := start(t, xds.Options{Now: c.Now})
				s.publish(t, "listener web\nfilter hello v1 web")
				var all []*envoy
				for i := range 3 {
					all = append(all, s.roaming(t, fmt.Sprint("e", i), delta))
				}
				stays := s.up(t, "one address", delta)
				for _, tells := range []any{1, "3", true, -2} {
					e := newEnvoy(t, fmt.Sprint("stays ", tells), delta)
					e.meta = knowing(t, tells)
					e.has(moduleOf("hello", "v1"))
					e.connect(s.dial(t, ""))
					s.settled(t, e.id)
				}
				swaps := newEnvoy(t, "swaps", delta)
				swaps.meta = knowing(t, 2)
				swaps.connect(s.dial(t, ""))
				swaps.expect("CDS 127.0.0.1:9000 wasmxds-modules", "LDS primer", "ECDS primer/hello: Unable to create Wasm plugin hello")
				if n := s.Move(100); n != 0 {
					t.Errorf("%d that have just come were moved", n)
				}
				c.advance(10 * time.Second)
				if n := s.Move(2); n != 2 {
					t.Errorf("%d were moved, of 2 that were to be", n)
				}
				if n := s.Move(100); n != 1 {
					t.Errorf("%d were moved, of 1 that was left", n)
				}
				if n := s.Stats().Moved; n != 3 {
					t.Errorf("%d are counted", n)
				}
				for _, e := range all {
					<-e.ended
					e.ended <- nil
				}
				_ = swaps.leave() // else it is sent again what it lacks
				eventually(t, "it is away", func() bool { return len(s.Awaited()) == 4 })
				sent := s.Stats().Responses
				for _, e := range all {
					e.connect(s.dial(t, ""))
					s.settled(t, e.id)
				}
				for kind, n := range s.Stats().Responses {
					if n != sent[kind] {
						t.Errorf("%s was sent again: %d, %d before", kind, n, sent[kind])
					}
				}
				if _, connected := s.node(stays.id); !connected {
					t.Error("the Envoy with one address was moved")
				}

				// All three return each time, so that moves are useless and get rarer.
				for _, stay := range []time.Duration{4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
					c.advance(stay - time.Second)
					if n := s.Move(100); n != 0 {
						t.Errorf("%d were moved again before %v, in vain", n, stay)
					}
					c.advance(time.Second)
					if n := s.Move(100); n != 3 {
						t.Errorf("after %v %d were moved", stay, n)
					}
					for _, e := range all {
						<-e.ended
						e.ended <- nil
						e.connect(s.dial(t, ""))
						s.settled(t, e.id)
					}
				}
			})
		}
	})
}

// TestMoveAgain checks that an Envoy that was elsewhere is moved again after a while, that
// one that sends samples is not, and that a server that shuts down moves all.
func TestMoveAgain(t *testing.T) {
	c := newClock()
	s := start(t, xds.Options{Now: c.Now})
	s.publish(t, "listener web\nfilter hello v1 web")
	e := s.roaming(t, "e", true)
	s.roaming(t, "watched", true)
	s.Sample("watched", 1000)
	c.advance(10 * time.Second)
	for range 2 {
		if n := s.Move(100); n != 1 {
			t.Fatalf("%d were moved", n)
		}
		<-e.ended
		e.ended <- nil
		c.advance(time.Minute) // it is elsewhere
		e.connect(s.dial(t, ""))
		s.settled(t, "e")
		c.advance(50 * time.Second)
		if n := s.Move(100); n != 0 {
			t.Fatalf("%d were moved again soon", n)
		}
		c.advance(20 * time.Second)
	}
	if n := s.Leave(100); n < 1 {
		t.Errorf("%d were moved as the server ends", n)
	}
}

// TestMoveWaitsForSwap checks that no Envoy is moved during a swap.
func TestMoveWaitsForSwap(t *testing.T) {
	c := newClock()
	s := start(t, xds.Options{Now: c.Now})
	s.publish(t, "listener web\nfilter hello v1 web")
	e := s.roaming(t, "e", true)
	c.advance(10 * time.Second)
	s.publish(t, "listener web\nfilter hello v2 web")
	eventually(t, "it fetches", func() bool {
		n, _ := s.node("e")
		return len(n.Filters) == 1 && n.Filters[0].State != swap.Running
	})
	if n := s.Move(100) + s.Leave(100); n != 0 {
		t.Fatalf("%d were moved", n)
	}
	e.has(moduleOf("hello", "v2"))
	s.Downloaded(loopback, swap.Download{SHA256: moduleOf("hello", "v2"), Progress: swap.DownloadStarted})
	s.Downloaded(loopback, swap.Download{SHA256: moduleOf("hello", "v2"), Progress: swap.DownloadDone, Size: 1000})
	eventually(t, "moved after the swap", func() bool {
		c.advance(100 * time.Millisecond)
		return s.Move(100) == 1
	})
}
