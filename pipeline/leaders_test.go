package pipeline

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/judge"
	"wasmxds/signal"
	"wasmxds/signal/relay"
)

// judging is the part of a server that judges Envoys, in memory.
type judging struct {
	heard    *relay.Leader
	follower *relay.Follower
	judge    *judge.Judge
	ahead    time.Duration // offset of its clock
}

// fleetJudges are servers, one of which leads. Each report of an Envoy goes to
// a random server.
type fleetJudges struct {
	t       *testing.T
	rng     *rand.Rand
	servers map[string]*judging
	leads   string
	term    uint64
	now     time.Time
	fails   func(node string) float64
}

func newFleetJudges(t *testing.T, seed uint64) *fleetJudges {
	f := &fleetJudges{t: t, rng: rand.New(rand.NewPCG(seed, 5)), servers: map[string]*judging{}, now: time.Unix(1_800_000_000, 0)}
	for id, ahead := range map[string]time.Duration{"A": 0, "B": 3 * time.Minute, "C": -90 * time.Second} {
		s := &judging{heard: relay.NewLeader(signal.NewCounts(), func(string, int) {}), follower: relay.NewFollower(func(string, uint32) {}), ahead: ahead}
		s.judge = judge.New(judge.Options{Counts: s.heard})
		f.servers[id] = s
	}
	return f
}

func (s *judging) clock(f *fleetJudges) time.Time { return f.now.Add(s.ahead) }

// pass advances time: Envoys report a hundred requests a second, and the leader
// queries the others.
func (f *fleetJudges) pass(d time.Duration) {
	l := f.servers[f.leads]
	watched := l.judge.Watched()
	for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(time.Second) {
		rates := map[string]uint32{}
		ids := slices.Sorted(maps.Keys(f.servers))
		for _, node := range watched {
			rates[node] = 1000
			for range 4 { // workers
				samples := make([]signal.Sample, 25)
				for i := range samples {
					samples[i] = signal.Sample{Error: f.rng.Float64() < f.fails(node), Latency: time.Millisecond}
				}
				s := f.servers[ids[f.rng.IntN(len(ids))]]
				if s == l {
					s.heard.Add(node, s.clock(f), samples)
				} else {
					s.follower.Add(node, s.clock(f), samples)
				}
			}
		}
		others := slices.DeleteFunc(ids, func(id string) bool { return id == f.leads })
		for id, a := range l.heard.Asks(l.clock(f), f.term, rates, others) {
			s := f.servers[id]
			if f.rng.IntN(10) == 0 {
				continue // the request is lost
			}
			if answer, err := s.follower.Asked(s.clock(f), a); err != nil {
				f.t.Fatal(err)
			} else if f.rng.IntN(10) > 0 { // otherwise, the response is lost
				l.heard.Take(l.clock(f), id, answer)
			}
		}
	}
}

// TestLeaderDies kills the leader in a wave. The next one judges the wave by
// the reports from before it, which were stored, and by the reports to all live
// servers since.
func TestLeaderDies(t *testing.T) {
	for name, more := range map[string]float64{"good": 0, "bad": 0.05} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(5) {
				leaderDies(t, seed, more)
			}
		})
	}
}

func leaderDies(t *testing.T, seed uint64, more float64) {
	f := newFleetJudges(t, seed)
	has := false
	f.fails = func(node string) float64 {
		fails := 0.01 * float64(len(node)-3) // each has its own rate: 1 % and 4 %
		if node == "new1" && has {
			fails += more
		}
		return fails
	}
	policy := &definition.Rollout{Waves: []definition.Wave{{Count: 1}, {Share: 1}}}
	policy.Stop.Errors = definition.ErrorRise{More: 0.01, Confidence: 0.999}
	w := rollout.Watch{Change: "c1", Wave: 1, Policy: policy, New: []string{"new1"}}
	for i := range 8 {
		w.Control = append(w.Control, fmt.Sprint("other-", i))
	}
	look := rollout.Look{Change: "c1", Wave: 1, Policy: policy}

	f.leads, f.term = "A", 1
	a := f.servers["A"]
	w.Phase = rollout.Before
	a.judge.Watch(a.clock(f), w)
	f.pass(judge.MostBefore / 2)
	w.Phase = rollout.During
	if w.Told = a.judge.Watch(a.clock(f), w); w.Told == nil {
		t.Fatal("nothing is kept")
	}
	has = true
	a.judge.Tell(a.clock(f), rollout.Settled{ID: "new1", Choice: "c1"})
	f.pass(20 * time.Second)
	if v, words := a.judge.Look(a.clock(f), look); v != rollout.Unsure {
		t.Fatalf("seed %d: so soon it is %s: %s", seed, v, words)
	}

	delete(f.servers, "A")
	f.now = f.now.Add(15 * time.Second)             // until its lease expires
	f.leads, f.term = []string{"B", "C"}[seed%2], 2 // whose clock is ahead or behind
	b := f.servers[f.leads]
	b.judge.Watch(b.clock(f), w)
	b.judge.Tell(b.clock(f), rollout.Settled{ID: "new1", Choice: "c1"}) // it is reported again
	if v, words := b.judge.Look(b.clock(f), look); v == rollout.Good || v == rollout.Bad {
		t.Errorf("seed %d: before anything is told it is %s: %s", seed, v, words)
	}
	want := rollout.Good
	if more > 0 {
		want = rollout.Bad
	}
	var v rollout.Verdict
	var words string
	for begun := f.now; f.now.Sub(begun) < 20*time.Minute; {
		f.pass(2 * time.Second)
		if v, words = b.judge.Look(b.clock(f), look); v == rollout.Good || v == rollout.Bad {
			break
		}
	}
	if v != want {
		t.Errorf("seed %d: it is %s: %s", seed, v, words)
	}
	points := func(cohort []rollout.Point) (requests float64) {
		for _, p := range cohort {
			requests += p.Requests
		}
		return requests
	}
	if c := b.judge.Curves(b.clock(f), "c1"); points(c.New) == 0 || points(c.Control) < 7*points(c.New) {
		t.Errorf("seed %d: the curves have %v requests, and %v of others", seed, points(c.New), points(c.Control))
	}
}
