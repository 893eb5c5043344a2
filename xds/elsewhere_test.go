package xds_test

import (
	"slices"
	"testing"

	"wasmxds/xds"
)

// TestElsewhere checks that an Envoy that is away here, but connected to another server,
// isn't away, and that one that is connected here isn't taken for one that has left.
func TestElsewhere(t *testing.T) {
	s := start(t, xds.Options{})
	s.publish(t, "listener web\nfilter hello v1 web")
	e := s.roaming(t, "edge-1", true)
	s.roaming(t, "edge-2", true)
	if got := s.Connected([]string{"edge-2", "edge-3"}); !slices.Equal(got, []string{"edge-2"}) {
		t.Errorf("connected are %v", got)
	}
	s.Elsewhere([]string{"edge-1", "edge-3"})
	if n, _ := s.Summary(); n.Connected != 2 {
		t.Errorf("%+v", n)
	}
	_ = e.leave() // it reports that the stream was canceled
	eventually(t, "edge-1 is away", func() bool { return len(s.Awaited()) == 1 })
	before := s.Generation()
	s.Elsewhere([]string{"edge-1"})
	if n, _ := s.Summary(); n.Connected != 1 || n.Away != 0 || n.Awaited != 0 || s.Generation() == before {
		t.Errorf("%+v", n)
	}
	if _, there := s.Node("edge-1"); there {
		t.Error("it is still told of")
	}
}
