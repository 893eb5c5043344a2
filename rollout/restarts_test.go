package rollout_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

var fleets = flag.Int("fleets", 4, "healthy fleets of each kind, with ten changes each")

// healthy is a fleet whose Envoys restart now and then, whatever is rolled out.
type healthy struct {
	rng   *rand.Rand
	m     *rollout.Machine
	now   time.Time
	nodes []definition.Node
	each  time.Duration // between two restarts of an Envoy, on average
	plan  *rollout.Plan
	known map[string]any
	n     int
	ended rollout.State
}

func newHealthy(seed uint64, envoys int, each time.Duration) *healthy {
	h := &healthy{rng: rand.New(rand.NewPCG(seed, 2)), now: time.Unix(0, 0), each: each, known: map[string]any{}}
	h.m, _ = rollout.New(rollout.Options{}, nil)
	h.want()
	for i := range envoys {
		h.nodes = append(h.nodes, definition.Node{ID: fmt.Sprintf("edge-%d", i)})
		h.step(rollout.Connected{Node: h.nodes[i]})
	}
	return h
}

func (h *healthy) want() {
	h.n++
	policy := policyOf([]string{"p", "waves=1,5%,25%,100%", "bake=2m"})
	h.step(rollout.Wanted{Set: wantedOf([]string{fmt.Sprintf("hello=v%d", h.n)}, h.known, []*definition.Rollout{policy}, nil)})
}

func (h *healthy) step(e rollout.Event) {
	for {
		r := h.m.Step(h.now, e)
		if r.Plan != nil {
			h.plan = r.Plan
		}
		for _, t := range r.Told {
			if t.State == rollout.Done || t.State == rollout.Stopped {
				h.ended = t.State
			}
		}
		if r.Save == nil {
			return
		}
		e = rollout.Saved{Seq: r.Save.Seq}
	}
}

// pass advances time by a second, in which some restart.
func (h *healthy) pass() {
	h.now = h.now.Add(time.Second)
	for rest := h.rng.ExpFloat64() * h.each.Seconds() / float64(len(h.nodes)); rest < 1; rest += h.rng.ExpFloat64() * h.each.Seconds() / float64(len(h.nodes)) {
		n := h.nodes[h.rng.IntN(len(h.nodes))]
		h.step(rollout.Restarted{ID: n.ID})
		h.step(rollout.Settled{ID: n.ID, Choice: h.plan.Choose(n)})
	}
	h.step(rollout.Tick{})
}

func (h *healthy) settle() {
	for _, n := range h.nodes {
		h.step(rollout.Settled{ID: n.ID, Choice: h.plan.Choose(n)})
	}
}

// rollOut rolls out a change, and returns its final state.
func (h *healthy) rollOut() rollout.State {
	h.ended = ""
	h.want()
	for second := 0; h.ended == ""; second++ {
		if second%60 == 0 {
			h.settle()
		}
		h.pass()
	}
	return h.ended
}

// TestRestartsOfHealthyFleets checks that ordinary restarts of Envoys don't stop changes,
// even with a server that hasn't seen the fleet before the first change.
func TestRestartsOfHealthyFleets(t *testing.T) {
	for _, each := range []time.Duration{24 * time.Hour, time.Hour, 10 * time.Minute} {
		stopped, all := 0, 0
		for seed := range uint64(*fleets) {
			h := newHealthy(seed, 300, each)
			for range 10 {
				all++
				if h.rollOut() == rollout.Stopped {
					stopped++
				}
				for range 60 {
					h.pass()
				}
			}
		}
		t.Logf("each Envoy restarts every %v: %d of %d good changes stopped", each, stopped, all)
		if stopped > 0 {
			t.Errorf("each Envoy restarts every %v: %d of %d good changes stopped", each, stopped, all)
		}
	}
}

// TestRestartsOfBadChanges checks that a change that crashes its Envoy stops in its first
// wave, at the second crash, or a little later in a fleet that restarts often.
func TestRestartsOfBadChanges(t *testing.T) {
	for each, after := range map[time.Duration]int{24 * time.Hour: 2, time.Hour: 3, 10 * time.Minute: 4} {
		h := newHealthy(7, 300, each)
		h.rollOut() // the earlier version
		for range 600 {
			h.pass()
		}
		h.ended = ""
		h.want()
		var victim definition.Node
		for _, n := range h.nodes {
			if h.plan.Choose(n) != "" {
				victim = n
			}
		}
		for i := range after {
			h.settle()
			for range 20 {
				h.pass()
			}
			h.step(rollout.Restarted{ID: victim.ID})
			if stopped := h.ended == rollout.Stopped; stopped != (i == after-1) {
				t.Errorf("each Envoy restarts every %v: after %d restarts stopped %v", each, i+1, stopped)
			}
		}
	}
}
