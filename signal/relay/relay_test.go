package relay

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wasmxds/signal"
)

var start = time.Unix(1_800_000_000, 0)

// servers are a leading server and others, each with a clock of its own.
type servers struct {
	leader  *Leader
	sampled map[string]int
	others  map[string]*other
	now     time.Time
	term    uint64
	rates   map[string]uint32
}

type other struct {
	*Follower
	ahead time.Duration // of the leader's clock
	told  map[string]uint32
	gone  bool
}

func newServers(skews ...time.Duration) *servers {
	s := &servers{sampled: map[string]int{}, others: map[string]*other{}, now: start, term: 1}
	s.lead()
	for i, skew := range skews {
		o := &other{ahead: skew, told: map[string]uint32{}}
		o.Follower = NewFollower(func(node string, rate uint32) {
			if o.told[node] = rate; rate == 0 {
				delete(o.told, node)
			}
		})
		s.others[fmt.Sprint("s", i)] = o
	}
	return s
}

// lead has a server lead that knows nothing yet.
func (s *servers) lead() {
	s.leader = NewLeader(signal.NewCounts(), func(node string, n int) { s.sampled[node] += n })
}

func (s *servers) watch(nodes ...string) {
	s.leader.Watch(nodes, time.Time{})
	s.rates = map[string]uint32{}
	for _, node := range nodes {
		s.rates[node] = 1000
	}
}

func (o *other) clock(s *servers) time.Time { return s.now.Add(o.ahead) }

// ask sends an Ask to all others. lost reports whether the next Ask, or its Answer, is
// lost.
func (s *servers) ask(lost func() (ask, answer bool)) {
	for id, a := range s.leader.Asks(s.now, s.term, s.rates, slices.Sorted(maps.Keys(s.others))) {
		o := s.others[id]
		ask, answer := lost()
		if ask || o.gone {
			continue
		}
		got, err := o.Asked(o.clock(s), a)
		if err == nil && !answer {
			s.leader.Take(s.now, id, got)
		}
	}
}

func never() (ask, answer bool) { return false, false }

// TestToldOnce checks that samples that Envoys send to any server reach the leader exactly
// once, with times of its clock, whatever is lost on the way.
func TestToldOnce(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newServers(0, 3*time.Minute, -1700*time.Millisecond)
		s.watch("a", "b")
		s.ask(never)
		sum := map[string]map[int64]signal.Count{"a": {}, "b": {}}
		total := map[string]int{}
		for s.now.Before(start.Add(2 * time.Minute)) {
			s.now = s.now.Add(100 * time.Millisecond)
			for _, id := range slices.Sorted(maps.Keys(s.others)) {
				o := s.others[id]
				node := []string{"a", "b", "c"}[rng.IntN(3)]
				samples := make([]signal.Sample, rng.IntN(3))
				for i := range samples {
					samples[i].Error = rng.IntN(4) == 0
				}
				o.Add(node, o.clock(s), samples)
				if node == "c" {
					continue
				}
				at := s.now.Truncate(signal.BlockTime).Unix()
				c := sum[node][at]
				for _, one := range samples {
					c.Requests++
					if one.Error {
						c.Errors++
					}
				}
				sum[node][at] = c
				total[node] += len(samples)
			}
			if s.now.Sub(start)%time.Second == 0 {
				s.ask(func() (bool, bool) { return rng.IntN(5) == 0, rng.IntN(4) == 0 })
			}
		}
		s.now = s.now.Add(signal.BlockTime)
		for range 2 { // what is in flight, and the rest
			s.ask(never)
		}
		for node, want := range sum {
			e := s.leader.Envoy(node, s.now)
			for _, b := range e.Blocks {
				if got := b.Count(); got != want[b.Start.Unix()] {
					t.Errorf("seed %d: of %s at %v: %v, want %v", seed, node, b.Start.Sub(start), got, want[b.Start.Unix()])
				}
				delete(want, b.Start.Unix())
			}
			for at, c := range want {
				if c.Requests > 0 {
					t.Errorf("seed %d: of %s at %d nothing is known, want %v", seed, node, at-start.Unix(), c)
				}
			}
			if s.sampled[node] != total[node] {
				t.Errorf("seed %d: %d samples of %s, want %d", seed, s.sampled[node], node, total[node])
			}
		}
		if len(s.leader.Envoy("c", s.now).Blocks) > 0 {
			t.Error("of one that is not watched something is told")
		}
	}
}

// TestClockSet checks that, when a server's clock is set, only a few seconds' samples are
// counted for a wrong time.
func TestClockSet(t *testing.T) {
	s := newServers(0)
	s.watch("a")
	o := s.others["s0"]
	for range 240 {
		s.now = s.now.Add(time.Second)
		switch s.now.Sub(start) {
		case time.Minute:
			o.ahead = 10 * time.Minute
		case 2 * time.Minute:
			o.ahead = -10 * time.Minute
		}
		s.ask(never)
		o.Add("a", o.clock(s), make([]signal.Sample, 10))
	}
	n := 0
	for _, b := range s.leader.Envoy("a", s.now).Blocks {
		if c := b.Count(); c.Requests == 40 {
			n++
		} else if c.Requests > 80 {
			t.Errorf("of the block at %v there are %d requests", b.Start.Sub(start), c.Requests)
		}
	}
	if n < 50 || n > 60 {
		t.Errorf("%d blocks are whole, of 60", n)
	}
}

// TestRates checks that a server samples what the leader requests, for as long as the lease
// lasts.
func TestRates(t *testing.T) {
	s := newServers(0)
	o := s.others["s0"]
	s.watch("a", "b")
	s.ask(never)
	if want := map[string]uint32{"a": 1000, "b": 1000}; !maps.Equal(o.told, want) || !o.Watches("a") || o.Watches("c") {
		t.Errorf("it samples %v, want %v", o.told, want)
	}
	s.watch("b")
	s.rates["b"] = 3000
	s.ask(never)
	if want := map[string]uint32{"b": 3000}; !maps.Equal(o.told, want) || o.Watches("a") {
		t.Errorf("it samples %v, want %v", o.told, want)
	}
	s.now = s.now.Add(lease - time.Second)
	o.Expire(s.now)
	if !o.Watches("b") {
		t.Error("it does not look any more")
	}
	s.now = s.now.Add(time.Second)
	o.Expire(s.now)
	if o.Watches("b") || len(o.told) > 0 {
		t.Errorf("it is not asked any more, and samples %v", o.told)
	}
	many := map[string]uint32{}
	for i := range signal.MaxWatched + 1 {
		many[fmt.Sprint(i)] = 1
	}
	if _, err := o.Asked(s.now, Ask{Term: 1, Rates: many}); err == nil || len(o.told) > 0 {
		t.Errorf("asked for too many: %v, samples %v", err, o.told)
	}
}

// TestOtherTerm checks that a server rejects an Ask of an earlier leader, and doesn't send
// the new leader samples from before its term.
func TestOtherTerm(t *testing.T) {
	s := newServers(0)
	o := s.others["s0"]
	s.watch("a")
	s.ask(never)
	o.Add("a", s.now, make([]signal.Sample, 5))
	old := s.leader.Asks(s.now, 1, s.rates, []string{"s0"})["s0"]
	s.now = s.now.Add(10 * time.Second)
	s.lead()
	s.watch("a")
	s.term = 2
	s.ask(never)
	if e := s.leader.Envoy("a", s.now); len(e.Blocks) > 0 {
		t.Errorf("it is told what was told before: %+v", e.Blocks)
	}
	if _, err := o.Asked(s.now, old); !errors.Is(err, ErrTerm) {
		t.Errorf("asked by the leader before: %v", err)
	}
	o.Add("a", s.now, make([]signal.Sample, 7))
	s.now = s.now.Add(10 * time.Second)
	s.ask(never)
	if e := s.leader.Envoy("a", s.now); len(e.Blocks) != 1 || e.Blocks[0].Count().Requests != 7 {
		t.Errorf("told %+v", e.Blocks)
	}
}

// TestSilence checks that an Envoy without samples counts as away while a server doesn't
// answer.
func TestSilence(t *testing.T) {
	s := newServers(0, 0)
	s.watch("a")
	away := func() bool { return s.leader.Envoy("a", s.now).Away }
	run := func(d time.Duration) {
		for end := s.now.Add(d); s.now.Before(end); {
			s.now = s.now.Add(time.Second)
			s.ask(never)
		}
	}
	if away() {
		t.Error("there is nobody to hear")
	}
	s.ask(never)
	run(10 * time.Second)
	if !away() {
		t.Error("they were heard just now for the first time")
	}
	run(backFor)
	if away() {
		t.Error("all are heard")
	}
	s.others["s1"].gone = true
	run(lost - time.Second)
	if away() {
		t.Error("s1 is late")
	}
	run(2 * time.Second)
	if !away() {
		t.Error("s1 is not heard")
	}
	run(time.Minute)
	if !away() {
		t.Error("s1 is still not heard")
	}
	delete(s.others, "s1") // it is not a live replica any more
	run(backFor + time.Second)
	if away() {
		t.Error("all that live are heard")
	}
}
