package xds_test

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	runtimev3 "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"

	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestSample checks that an Envoy is sent its sampling rate, also after a restart, and that
// another isn't.
func TestSample(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		a := askRuntime(t, s, "a", delta)
		a.told(t, 0)
		if rate := s.Sample("a", 2500); rate != 1000 {
			t.Errorf("the rate is %d, want 1000", rate)
		}
		a.told(t, 1000)
		b := askRuntime(t, s, "b", delta)
		b.told(t, 0)
		again := askRuntime(t, s, "a", delta)
		again.told(t, 1000)
		s.Sample("a", 0)
		a.told(t, 0)
		again.told(t, 0)
		s.Sample("b", 1_000_000)
		b.told(t, 1_000_000)
	})
}

// TestUnable checks that the observation of an up-to-date Envoy says whether it can get a
// sampling rate.
func TestUnable(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var mu sync.Mutex
		unable := map[string]bool{}
		s := start(t, xds.Options{Observe: func(o xds.Observed) {
			mu.Lock()
			defer mu.Unlock()
			if o.What == xds.Settled {
				unable[o.Node.ID] = o.Unable
			}
		}})
		s.publish(t, hello1)
		for _, id := range []string{"tells", "unable"} {
			e := fresh(t, id, delta)
			e.tells = id == "tells"
			e.connect(s.dial(t, ""))
			s.settled(t, id)
		}
		want := map[string]bool{"tells": false, "unable": true}
		eventually(t, fmt.Sprint("told ", want), func() bool { mu.Lock(); defer mu.Unlock(); return maps.Equal(unable, want) })
	})
}

// runtimeStream is the stream of an Envoy that subscribes to its runtime only.
type runtimeStream struct{ stream }

func askRuntime(t *testing.T, s *scene, node string, delta bool) runtimeStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	st, err := open(ctx, s.dial(t, ""), delta)
	if err != nil {
		t.Fatal(err)
	}
	r := runtimeStream{st}
	r.ask(t, &ask{node: &corev3.Node{Id: node}, typeURL: swap.Runtime.URL(), names: []string{resource.RuntimeLayer}})
	return r
}

func (r runtimeStream) ask(t *testing.T, a *ask) {
	t.Helper()
	if err := r.Send(a); err != nil {
		t.Fatal(err)
	}
}

// told reads the next response, which must contain a rate, and ACKs it.
func (r runtimeStream) told(t *testing.T, rate float64) {
	t.Helper()
	got, err := r.Recv()
	if err != nil {
		t.Fatal(err)
	}
	var layer runtimev3.Runtime
	must(got.resources[resource.RuntimeLayer].UnmarshalTo(&layer))
	if is := layer.Layer.Fields["wasmxds.sampling"].GetNumberValue(); is != rate || len(got.resources) != 1 {
		t.Errorf("it is told to sample %v of a million requests, want %v, with %d layers", is, rate, len(got.resources))
	}
	ack := &ask{typeURL: got.typeURL, nonce: got.nonce, version: got.version}
	if _, sotw := r.stream.(sotw); sotw {
		ack.names = []string{resource.RuntimeLayer}
	}
	r.ask(t, ack)
}
