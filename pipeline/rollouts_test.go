package pipeline

import (
	"testing"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestRejectionsThatCount checks which rejections of an Envoy the rollouts are told of: not
// those of a module that it can't fetch, and not those of what no change of its choice
// changes.
func TestRejectionsThatCount(t *testing.T) {
	for name, test := range map[string]struct {
		observed xds.Observed
		counts   bool
	}{
		"of a change": {xds.Observed{Refusal: &swap.Refusal{Type: swap.Listener, Name: "web"}}, true},
		"unfetched":   {xds.Observed{Refusal: &swap.Refusal{Type: swap.Extension, Name: "web", Unfetched: true}}, false},
		"besides":     {xds.Observed{Refusal: &swap.Refusal{Type: swap.Listener, Name: "web"}, Besides: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := test.observed
			o.What, o.Node, o.Choice = xds.Refused, definition.Node{ID: "edge-1"}, "c1"
			got := eventOf(o)
			if !test.counts {
				if got != nil {
					t.Errorf("they are told %+v", got)
				}
				return
			}
			want := rollout.Refused{ID: "edge-1", Choice: "c1", Key: rollout.Key{Kind: rollout.ListenerKind, Name: "web"}}
			if got != rollout.Event(want) {
				t.Errorf("they are told %+v, want %+v", got, want)
			}
		})
	}
}
