package rollouts

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/judge"
	"wasmxds/signal/signaltest"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// play is a change that goes through a fleet.
type play struct {
	fleet  signaltest.Fleet
	harm   signaltest.Harm // that it does
	policy *definition.Rollout
	seed   uint64
	// dies is how long after its first wave began the server dies, and another goes on
	// with what was written down; 0: it does not.
	dies time.Duration
}

// outcome is how that ended.
type outcome struct {
	seed    uint64
	state   rollout.State
	wave    int
	exposed int           // Envoys that were ever to have it
	took    time.Duration // since it was there
	words   string
}

const (
	// calm is for how long the fleet is looked at before.
	calm = 10 * time.Minute
	// patience is for how long a change may be under way.
	patience = 2 * time.Hour
	// reach is how long it takes at most until an Envoy has what it is to have.
	reach = 2 * time.Second
)

// run plays it, in virtual time.
func (p play) run(t *testing.T) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := p.fleetOf()
		s.serve(t)
		defer func() { s.end() }()
		time.Sleep(time.Second / 2) // so that nothing of the fleet falls together with a timer of the server
		for i := range p.fleet.Envoys {
			s.connect(i)
		}
		s.tell(rollout.Wanted{Set: wanted("v1", p.policy)})
		for s.since() < calm {
			s.second()
		}
		began := time.Now()
		s.tell(rollout.Wanted{Set: wanted("v2", p.policy)})
		for time.Since(began) < patience {
			s.second()
			c := s.change(t)
			if c.State == rollout.Stopped || c.State == rollout.Done {
				o = outcome{p.seed, c.State, c.Wave, len(s.had), time.Since(began), c.Words}
				return
			}
			if p.dies > 0 && c.Wave > 0 && time.Since(c.Waves[0].Began) >= p.dies {
				p.dies = 0
				s.again(t, wanted("v2", p.policy))
			}
		}
		c := s.change(t)
		o = outcome{p.seed, c.State, c.Wave, len(s.had), time.Since(began), c.Words}
	})
	return o
}

// server is the rollout of an xds-server, with a fleet that is played.
type server struct {
	*driver.Driver
	judge *judge.Judge
	fleet *signaltest.Played
	rand  *rand.Rand
	nodes []definition.Node
	start time.Time
	kept  *statetest.Memory
	end   func()

	mu   sync.Mutex
	plan *rollout.Plan
	news bool // it is another than before

	envoys []envoy
	had    map[int]bool // Envoys that have ever had the change
}

// envoy is what the server has of one.
type envoy struct {
	away     bool
	restarts int
	choice   rollout.Choice
	settles  time.Time // then it has it; zero: it has
}

func (p play) fleetOf() *server {
	s := &server{fleet: p.fleet.Play(p.seed, time.Now(), p.harm), rand: rand.New(rand.NewPCG(p.seed, 2)), start: time.Now(),
		envoys: make([]envoy, p.fleet.Envoys), had: map[int]bool{}, kept: statetest.NewMemory()}
	for i := range p.fleet.Envoys {
		s.nodes = append(s.nodes, definition.Node{ID: s.fleet.Name(i)})
	}
	return s
}

// serve begins a server, with what is written down.
func (s *server) serve(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(slog.DiscardHandler)
	writer := state.NewWriter(s.kept, log)
	s.judge = judge.New(judge.Options{Counts: s.fleet})
	d, err := driver.New(ctx, driver.Options{
		Options: rollout.Options{Signals: true, Before: judge.Before, MostBefore: judge.MostBefore, Known: s.judge.Known},
		Publish: func(plan *rollout.Plan) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.plan, s.news = plan, true
		},
		Watch: func(w rollout.Watch) []byte { return s.judge.Watch(time.Now(), w) },
		Look: func(_ context.Context, l rollout.Look) (rollout.Verdict, string) {
			return s.judge.Look(time.Now(), l)
		},
		State: writer,
		Log:   log,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Driver = d
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	running.Go(func() { writer.Run(ctx) })
	s.end = func() { cancel(); running.Wait() }
}

// again has another server go on where this one was, and all Envoys come to it.
func (s *server) again(t *testing.T, w *module.Set) {
	t.Helper()
	s.end()
	s.fleet.Watch(nil, time.Now())
	s.plan, s.news = nil, false
	time.Sleep(10 * time.Second)
	s.serve(t)
	for _, n := range s.nodes {
		s.tell(rollout.Expected{Node: n})
	}
	s.tell(rollout.Wanted{Set: w})
	synctest.Wait()
	for i := range s.envoys {
		if !s.envoys[i].away {
			s.connect(i)
		}
	}
}

// tell has the driver and the judge told, as in xds-server.
func (s *server) tell(e rollout.Event) {
	s.judge.Tell(time.Now(), e)
	s.Tell(e)
}

func (s *server) since() time.Duration { return time.Since(s.start) }

func (s *server) connect(i int) {
	s.tell(rollout.Connected{Node: s.nodes[i]})
	s.envoys[i].choice, s.envoys[i].settles = s.choice(i), s.soon()
}

func (s *server) choice(i int) rollout.Choice {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil {
		return ""
	}
	return s.plan.Choose(s.nodes[i])
}

func (s *server) soon() time.Time {
	return time.Now().Add(time.Duration(s.rand.Int64N(int64(reach))))
}

// second has the fleet go on by one.
func (s *server) second() {
	time.Sleep(time.Second)
	now := time.Now()
	s.mu.Lock()
	news := s.news
	s.news = false
	s.mu.Unlock()
	for i := range s.envoys {
		e := &s.envoys[i]
		away, restarts := s.fleet.Away(i, now)
		switch {
		case away && !e.away:
			s.tell(rollout.Gone{ID: s.nodes[i].ID})
		case !away && e.away:
			s.connect(i)
		}
		e.away = away
		if !away && restarts > e.restarts {
			e.restarts = restarts
			s.tell(rollout.Restarted{ID: s.nodes[i].ID})
		}
		if away {
			continue
		}
		if news {
			if c := s.choice(i); c != e.choice {
				e.choice, e.settles = c, s.soon()
			}
		}
		if !e.settles.IsZero() && !now.Before(e.settles) {
			s.has(i)
		}
	}
	synctest.Wait()
}

// has has an Envoy run what it is to run.
func (s *server) has(i int) {
	e := &s.envoys[i]
	e.settles = time.Time{}
	if e.choice != "" {
		s.had[i] = true
		s.fleet.Has(i, time.Now())
	} else {
		s.fleet.Has(i, time.Time{})
	}
	s.tell(rollout.Settled{ID: s.nodes[i].ID, Choice: e.choice})
}

// change is the newest one.
func (s *server) change(t *testing.T) rollout.ChangeStatus {
	t.Helper()
	status, err := s.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Changes) == 0 {
		t.Fatal("there is no change")
	}
	return status.Changes[0]
}

// wanted is a filter of that version, with a policy.
func wanted(version string, p *definition.Rollout) *module.Set {
	d := &definition.Filter{Name: "hello", RootID: version, Module: definition.Module{Fetch: definition.Mirror}, Attach: definition.Everywhere()}
	f := &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: "sha256 of " + version}}
	return &module.Set{Filters: []*module.Filter{f}, Rollouts: []*definition.Rollout{p}}
}

// policyOf reads one, as a user writes it.
func policyOf(t *testing.T, lines string) *definition.Rollout {
	t.Helper()
	file, problems := definition.Parser{}.Parse("rollout.yaml", []byte("kind: Rollout\nname: careful\n"+lines))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return file.Rollouts[0]
}
