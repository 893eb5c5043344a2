package roster

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"wasmxds/rollout"
)

// away is what a server remembers of an Envoy that has left.
type away struct {
	since time.Time
	had   bool
}

// roaming are Envoys that join and leave several servers, each of which remembers who was
// connected, as package xds does.
type roaming struct {
	t    *testing.T
	all  *All
	owns map[string]*Own
	seen map[string]map[string]away // by server and Envoy
	at   map[string]string          // the server that an Envoy is connected to
	now  time.Time
	told map[string]int // how often an Envoy was reported as restarted
}

func newRoaming(t *testing.T) *roaming {
	r := &roaming{t: t, all: NewAll(), owns: map[string]*Own{}, seen: map[string]map[string]away{}, at: map[string]string{}, now: time.Unix(0, 0), told: map[string]int{}}
	for _, s := range []string{"A", "B", "C"} {
		r.owns[s], r.seen[s] = NewOwn(), map[string]away{}
	}
	return r
}

func (r *roaming) gone(id string, had bool) {
	s := r.at[id]
	r.owns[s].Tell(rollout.Gone{ID: id, Had: had})
	r.seen[s][id] = away{r.now, had}
	delete(r.at, id)
}

// comes connects an Envoy; fresh: it is a new process.
func (r *roaming) comes(id, s string, fresh bool) {
	r.at[id] = s
	r.owns[s].Tell(rollout.Connected{Node: node(id)})
	before, knows := r.seen[s][id]
	switch {
	case !fresh:
	case knows && before.had && r.now.Sub(before.since) < restartWithin:
		r.owns[s].Tell(rollout.Restarted{ID: id})
	default:
		r.owns[s].Tell(rollout.Fresh{ID: id})
	}
	delete(r.seen[s], id)
}

func (r *roaming) settles(id string) { r.owns[r.at[id]].Tell(rollout.Settled{ID: id, Choice: "c"}) }

// tell has servers report what is pending, in this order.
func (r *roaming) tell(servers ...string) {
	for _, s := range servers {
		for r.owns[s].Waits() {
			t := r.owns[s].Take()
			events, ok := r.all.Hear(r.now, s, t)
			if !ok {
				r.owns[s].Anew()
				continue
			}
			r.owns[s].Taken(t.Seq)
			for _, e := range events {
				if e, is := e.(rollout.Restarted); is {
					r.told[e.ID]++
				}
			}
		}
	}
}

func (r *roaming) wants(id string, times int) {
	r.t.Helper()
	if r.told[id] != times {
		r.t.Errorf("it was told %d times that %s came back as new, want %d", r.told[id], id, times)
	}
}

// TestRestarted checks that an Envoy that returns as a new process, to any server, counts
// as restarted once, but not if it merely moves, or restarts hot.
func TestRestarted(t *testing.T) {
	for name, play := range map[string]func(r *roaming) (restarts int){
		"it is there for the first time": func(r *roaming) int { return 0 },
		"it moves": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "B", false)
			r.tell("B", "A")
			return 0
		},
		"it comes back as new elsewhere": func(r *roaming) int {
			r.gone("e", true)
			r.tell("A")
			r.now = r.now.Add(time.Minute)
			r.comes("e", "B", true)
			return 1
		},
		"who has it no more tells a moment later": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "B", true)
			r.tell("B", "A")
			r.settles("e")
			return 1
		},
		"it comes back as new to where it was": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "A", true)
			return 1
		},
		"it starts hot, beside the one before": func(r *roaming) int {
			r.owns["B"].Tell(rollout.Connected{Node: node("e")})
			r.owns["B"].Tell(rollout.Fresh{ID: "e"})
			r.tell("B")
			r.now = r.now.Add(10 * time.Second)
			r.gone("e", true)
			return 0
		},
		"it comes back as new after long": func(r *roaming) int {
			r.gone("e", true)
			r.tell("A")
			r.now = r.now.Add(20 * time.Minute)
			r.comes("e", "B", true)
			return 0
		},
		"its server was killed": func(r *roaming) int {
			r.all.Lose(r.now, "A")
			delete(r.at, "e")
			r.comes("e", "B", true)
			return 1
		},
		"its server was killed, and it moves": func(r *roaming) int {
			r.all.Lose(r.now, "A")
			delete(r.at, "e")
			r.comes("e", "B", false)
			return 0
		},
		"its second stream has had nothing of the first": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "B", true)
			r.tell("A", "B")
			r.gone("e", false)
			r.comes("e", "C", true)
			return 1
		},
		"it dies again and again before all is in place": func(r *roaming) int {
			for _, s := range []string{"B", "C", "A", "B"} {
				r.gone("e", true)
				r.comes("e", s, true)
				r.tell("A", "B", "C")
				r.now = r.now.Add(time.Second)
			}
			return 4
		},
		"it is told anew": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "B", true)
			r.tell("A", "B")
			r.owns["B"].Anew()
			return 1
		},
		"what tells it is lost": func(r *roaming) int {
			r.gone("e", true)
			r.comes("e", "B", true)
			r.tell("A")
			r.owns["B"].Take()
			r.owns["B"].Anew()
			return 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoaming(t)
			r.comes("e", "A", true)
			r.settles("e")
			r.tell("A", "B", "C")
			want := play(r)
			r.tell("A", "B", "C")
			r.wants("e", want)
		})
	}
}

// TestRestartsModel checks the same with many Envoys at random.
func TestRestartsModel(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 4))
		r := newRoaming(t)
		want := map[string]int{}
		servers := slices.Sorted(maps.Keys(r.owns))
		for i := range 300 {
			id := fmt.Sprint("e", rng.IntN(5))
			s := servers[rng.IntN(3)]
			if r.at[id] == "" {
				r.comes(id, s, true)
			} else {
				fresh := rng.IntN(3) == 0
				if fresh {
					want[id]++
				}
				r.gone(id, true)
				r.comes(id, s, fresh)
			}
			rng.Shuffle(3, func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
			r.tell(servers...)
			r.settles(id)
			r.tell(servers...)
			r.now = r.now.Add(time.Duration(rng.IntN(60)) * time.Second)
			if !maps.Equal(r.told, want) {
				t.Fatalf("seed %d, step %d: told %v, want %v", seed, i, r.told, want)
			}
		}
	}
}

// TestRestartsBounded checks that only Envoys that left recently are remembered.
func TestRestartsBounded(t *testing.T) {
	r := newRestarts()
	now := time.Unix(0, 0)
	for i := range 3 * mostLeft {
		now = now.Add(time.Second)
		r.went(now, fmt.Sprint(i), true)
	}
	if len(r.left) > mostLeft || len(r.has)+len(r.fresh) > 0 {
		t.Errorf("%d are remembered", len(r.left))
	}
	if !r.anew(now, fmt.Sprint(3*mostLeft-1), false, 1) {
		t.Error("the last one is not")
	}
}
