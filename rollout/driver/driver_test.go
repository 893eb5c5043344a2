package driver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

var errAway = errors.New("connection refused")

// server is a running Driver, with what it has published.
type server struct {
	*driver.Driver
	t    *testing.T
	end  func()
	mu   sync.Mutex
	plan *rollout.Plan
	all  []*rollout.Plan // from the first to plan
	told []string
}

// serve starts a server in a synctest bubble.
func serve(t *testing.T, kept *statetest.Memory, o driver.Options) *server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &server{t: t}
	log := slog.New(slog.DiscardHandler)
	w := state.NewWriter(kept, log)
	o.State, o.Log = w, log
	o.Publish = func(p *rollout.Plan) { s.mu.Lock(); defer s.mu.Unlock(); s.plan, s.all = p, append(s.all, p) }
	o.Told = func(e rollout.Told) { s.mu.Lock(); defer s.mu.Unlock(); s.told = append(s.told, e.Words) }
	o.Broken = func(err error) { t.Error(err) }
	d, err := driver.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	s.Driver = d
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	running.Go(func() { w.Run(ctx) })
	s.end = func() { cancel(); running.Wait() }
	return s
}

// has checks which of e0 to e9 have the change.
func (s *server) has(want ...string) {
	s.t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []string
	for i := range 10 {
		if n := nodeOf(i); s.plan.Choose(n) != "" {
			got = append(got, n.ID)
		}
	}
	if !slices.Equal(got, want) {
		s.t.Errorf("%q have it, want %q; told %q", got, want, s.told)
	}
}

func (s *server) said(words string) bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.told, func(w string) bool { return strings.Contains(w, words) })
}

func (s *server) base() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.Base.Filters[0].Definition.RootID
}

func nodeOf(i int) definition.Node { return definition.Node{ID: fmt.Sprintf("e%d", i)} }

// wanted returns a filter with that root ID, and a policy.
func wanted(root string, p *definition.Rollout) rollout.Wanted {
	return wantedOf(map[string]string{"hello": root}, p)
}

// wantedOf returns filters by name, each with a root ID, and a policy.
func wantedOf(roots map[string]string, p *definition.Rollout) rollout.Wanted {
	set := &module.Set{}
	for _, name := range slices.Sorted(maps.Keys(roots)) {
		d := &definition.Filter{Name: name, RootID: roots[name], Module: definition.Module{Fetch: definition.Mirror}, Attach: definition.Everywhere()}
		set.Filters = append(set.Filters, &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: "abc" + roots[name]}})
	}
	if p != nil {
		set.Rollouts = []*definition.Rollout{p}
	}
	return rollout.Wanted{Set: set}
}

func careful() *definition.Rollout {
	return &definition.Rollout{Name: "careful", Definitions: []string{"*"}, Waves: []definition.Wave{{Count: 1}, {Share: 0.5}, {Share: 1}},
		Bake: time.Minute, Stop: definition.Stop{Refused: 1, Crashes: 1, Restarts: 2}, Then: definition.Rollback}
}

// settle has all Envoys report that they run what they should.
func (s *server) settle() {
	synctest.Wait()
	for i := range 10 {
		s.mu.Lock()
		choice := s.plan.Choose(nodeOf(i))
		s.mu.Unlock()
		s.Tell(rollout.Settled{ID: nodeOf(i).ID, Choice: choice})
	}
	synctest.Wait()
}

func (s *server) connect() {
	for i := range 10 {
		s.Tell(rollout.Connected{Node: nodeOf(i)})
	}
}

// TestGoesOnAfterRestart kills the server in the middle of a wave.
func TestGoesOnAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := statetest.NewMemory()
		s := serve(t, kept, driver.Options{})
		s.connect()
		s.Tell(wanted("v1", careful()))
		s.settle()
		s.Tell(wanted("v2", careful()))
		s.has("e9")
		s.settle()
		time.Sleep(time.Minute)
		s.has("e0", "e1", "e4", "e5", "e9")
		s.end()
		if all, _, err := kept.List(t.Context(), ""); err != nil || len(all) == 0 {
			t.Fatalf("nothing was written down: %v", err)
		}

		s = serve(t, kept, driver.Options{})
		defer func() { s.end() }()
		if got := s.Modules(); len(got) != 2 {
			t.Errorf("modules that are needed: %v", got)
		}
		s.Tell(wanted("v2", careful()))
		s.connect()
		s.has("e0", "e1", "e4", "e5", "e9")
		s.settle()
		time.Sleep(time.Minute)
		s.settle()
		time.Sleep(time.Minute)
		s.has()
		if got := s.base(); got != "v2" {
			t.Errorf("the base has %s", got)
		}
	})
}

// TestFirstBaseIsWrittenAtOnce checks that a server that is killed right after its first
// start has written its base. Otherwise the next would take the definitions of its time for
// the base.
func TestFirstBaseIsWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := statetest.NewMemory()
		s := serve(t, kept, driver.Options{})
		defer s.end()
		s.connect()
		s.Tell(wanted("v1", careful()))
		synctest.Wait() // without any passage of time
		killed := kept.Copy()

		next := serve(t, killed, driver.Options{})
		defer next.end()
		next.connect()
		next.Tell(wanted("v2", careful()))
		next.has("e9")
		if got := next.base(); got != "v1" {
			t.Errorf("the base has %s", got)
		}
	})
}

// TestStoreAway checks that, without the store, no wave begins, but changes are stopped.
func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kept := statetest.NewMemory()
		s := serve(t, kept, driver.Options{})
		defer s.end()
		s.connect()
		s.Tell(wanted("v1", careful()))
		s.settle()
		kept.Fail(errAway)
		s.Tell(wanted("v2", careful()))
		time.Sleep(10 * time.Minute)
		s.has()
		if st, err := s.Status(t.Context()); err != nil || !strings.Contains(st.Stalled, errAway.Error()) {
			t.Errorf("stalled %q, %v", st.Stalled, err)
		}
		kept.Fail(nil)
		time.Sleep(30 * time.Second)
		s.has("e9")
		if st, err := s.Status(t.Context()); err != nil || st.Stalled != "" {
			t.Errorf("stalled %q, %v", st.Stalled, err)
		}
		kept.Fail(errAway)
		s.Tell(rollout.Crashed{ID: "e9", Filter: "hello"})
		s.has()
		if err := s.Do(t.Context(), rollout.Command{Verb: rollout.Resume}); !errors.Is(err, errAway) {
			t.Errorf("resumed while nothing can be written down: %v", err)
		}
		s.has()
		kept.Fail(nil)
		time.Sleep(30 * time.Second)
		s.has("e9")
	})
}

// TestUnreadable checks that a state that can't be read isn't taken for an empty one.
func TestUnreadable(t *testing.T) {
	kept := statetest.NewMemory()
	kept.Fail(errAway)
	w := state.NewWriter(kept, slog.New(slog.DiscardHandler))
	if _, err := driver.New(t.Context(), driver.Options{State: w}); !errors.Is(err, errAway) {
		t.Errorf("begun without what was written down: %v", err)
	}
}

// TestNothingIsKept checks that, without a state, everything works except a restart.
func TestNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		published := make(chan *rollout.Plan, 10)
		d, err := driver.New(t.Context(), driver.Options{Publish: func(p *rollout.Plan) { published <- p }})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { d.Run(ctx) })
		defer func() { cancel(); running.Wait() }()
		d.Tell(rollout.Connected{Node: nodeOf(1)})
		d.Tell(wanted("v1", careful()))
		d.Tell(wanted("v2", careful()))
		synctest.Wait()
		if len(published) < 3 {
			t.Errorf("%d plans, want the base, the change, and its first wave", len(published))
		}
	})
}

// TestStatus reads the status and sends commands while changes progress.
func TestStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, statetest.NewMemory(), driver.Options{})
		defer s.end()
		s.connect()
		s.Tell(wanted("v1", careful()))
		s.Tell(wanted("v2", careful()))
		s.settle()
		st, err := s.Status(t.Context())
		if err != nil || len(st.Changes) != 1 || st.Changes[0].Wave != 1 || len(st.Changes[0].Waves) != 3 {
			t.Fatalf("%+v, %v", st, err)
		}
		var diff []string
		for _, l := range st.Changes[0].Definitions[0].Diff {
			if l.Class != "same" {
				diff = append(diff, l.Sign()+strings.TrimSpace(l.Text))
			}
		}
		if want := []string{"-sha256: abcv1", "-rootID: v1", "+sha256: abcv2", "+rootID: v2"}; !slices.Equal(diff, want) {
			t.Errorf("%q, want %q", diff, want)
		}
		if err := s.Do(t.Context(), rollout.Command{Verb: rollout.Stop, ID: "nonsense"}); !errors.Is(err, rollout.ErrUnknown) {
			t.Error(err)
		}
		if err := s.Do(t.Context(), rollout.Command{Verb: rollout.Promote, By: "ann"}); err != nil {
			t.Error(err)
		}
		s.has()
		if got := s.base(); got != "v2" {
			t.Errorf("the base has %s", got)
		}
	})
}
