package driver_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// group is a group of servers with one store.
type group struct {
	t       *testing.T
	shared  *shared
	mu      sync.Mutex
	servers map[string]*member
	dead    map[string]bool
	options rollout.Options
}

// member is one server of a group.
type member struct {
	*server
	id    string
	way   *way
	began time.Time
	cut   bool // from other servers
	// It needs so long until it knows who asks.
	late time.Duration
	// It takes all others for dead.
	alone bool
	// Its clock differs from that of the previous leader.
	skewed bool
	heard  []rollout.Event // while it led

	watched map[string]rollout.Phase  // "change wave" that it observes
	runs    map[string]rollout.Choice // what its Envoys have reported, see react
	reacted int                       // how many of its plans they have reacted to
}

func newGroup(t *testing.T) *group {
	return &group{t: t, shared: newShared(), servers: map[string]*member{}, dead: map[string]bool{}}
}

// begin starts a server, which leads if no other does.
func (g *group) begin(id string) *member {
	w := &way{s: g.shared}
	m := &member{id: id, way: w, began: time.Now(), runs: map[string]rollout.Choice{}, watched: map[string]rollout.Phase{}}
	c := &copied{way: w}
	w.copy = c
	m.server = serve(g.t, statetest.NewMemory(), driver.Options{Options: g.options, Watch: m.watch, Heard: func(e rollout.Event) { g.set(func() { m.heard = append(m.heard, e) }) }, Replicas: &driver.Replicas{
		ID: id, Shared: w, Copy: c, In: c.in, GiveUp: c.giveUp,
		Lead: func(ctx context.Context) (state.Term, error) {
			term, err := g.shared.lead(ctx, w)
			if err == nil {
				g.mu.Lock()
				term.(*tenure).by = id
				g.mu.Unlock()
			}
			return term, err
		},
		Leader: func() driver.Leader { return link{g, m} },
		SameClock: func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return !m.skewed
		},
		Others: func() map[string]bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			others := map[string]bool{}
			for other := range g.servers {
				if other != id {
					others[other] = !g.dead[other] && !m.alone
				}
			}
			return others
		},
	}})
	g.mu.Lock()
	g.servers[id] = m
	g.mu.Unlock()
	synctest.Wait()
	return m
}

func (m *member) watch(w rollout.Watch) []byte {
	wave := fmt.Sprint(w.Change, " ", w.Wave)
	if m.watched[wave] = w.Phase; w.Phase == rollout.After {
		delete(m.watched, wave)
	}
	return nil
}

// kill kills a server, which the others notice only when the store does.
func (g *group) kill(m *member) {
	g.set(func() { g.dead[m.id] = true })
	if t := g.shared.leads(); t != nil && t.by == m.id {
		g.shared.depose(t)
	}
	m.server.end()
}

// set changes what servers know of each other.
func (g *group) set(do func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	do()
}

// link is a server's connection to the leader.
type link struct {
	g    *group
	from *member
}

func (l link) to() (*member, uint64, error) {
	t := l.g.shared.leads()
	l.g.mu.Lock()
	defer l.g.mu.Unlock()
	if t == nil || t.by == "" {
		return nil, 0, driver.ErrNotLeader
	}
	m := l.g.servers[t.by]
	if m.cut || l.from.cut || l.g.dead[t.by] {
		return nil, 0, driver.ErrNotLeader
	}
	return m, t.number, nil
}

func (l link) Term() uint64 {
	_, term, err := l.to()
	if err != nil {
		return 0
	}
	return term
}

// Known is always true: the store is read quickly.
func (l link) Known() bool { return true }

func (l link) Hear(ctx context.Context, t roster.Telling) (driver.Answer, error) {
	m, term, err := l.to()
	if err != nil {
		return driver.Answer{}, err
	}
	l.g.mu.Lock()
	late := m.late - time.Since(l.from.began)
	l.g.mu.Unlock()
	select {
	case <-ctx.Done():
		return driver.Answer{}, ctx.Err()
	case <-time.After(late):
	}
	return m.Driver.Hear(ctx, term, l.from.id, t)
}

func (l link) Do(ctx context.Context, c rollout.Command) error {
	m, _, err := l.to()
	if err != nil {
		return err
	}
	return driver.Here{Driver: m.Driver}.Do(ctx, c)
}

func (l link) Status(ctx context.Context) (rollout.Status, error) {
	m, _, err := l.to()
	if err != nil {
		return rollout.Status{}, err
	}
	return driver.Here{Driver: m.Driver}.Status(ctx)
}

// connect connects Envoys to a server.
func (m *member) connect(envoys ...int) {
	for _, i := range envoys {
		m.Tell(rollout.Connected{Node: nodeOf(i)})
	}
	time.Sleep(2 * time.Second)
}

// settle has Envoys report that they run what their server has for them.
func (m *member) settle(envoys ...int) {
	synctest.Wait()
	for _, i := range envoys {
		m.mu.Lock()
		choice := m.plan.Choose(nodeOf(i))
		m.mu.Unlock()
		m.Tell(rollout.Settled{ID: nodeOf(i).ID, Choice: choice})
	}
	time.Sleep(2 * time.Second)
}

// Halves of the ten Envoys: the first five and e9 make up the first waves.
var first, second = []int{0, 1, 2, 3, 4}, []int{5, 6, 7, 8, 9}

// halfway starts a leader A and a follower B with half of the Envoys each, and a change in
// its first wave: on e9, which is connected to B.
func halfway(t *testing.T) (g *group, a, b *member) {
	t.Helper()
	g = newGroup(t)
	a, b = g.begin("A"), g.begin("B")
	a.connect(first...)
	b.connect(second...)
	a.Tell(wanted("v1", careful())) // so it leads
	time.Sleep(2 * time.Second)
	b.Tell(wanted("v1", careful()))
	time.Sleep(5 * time.Second) // B follows A
	a.settle(first...)
	b.settle(second...)
	for _, m := range []*member{b, a} {
		m.Tell(wanted("v2", careful()))
	}
	a.has("e9")
	b.has("e9")
	return g, a, b
}

// TestReplicasFollow checks that a follower has what the leader has, and that reports of
// its Envoys let waves proceed.
func TestReplicasFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		time.Sleep(10 * time.Minute)
		a.has("e9") // which hasn't reported that it runs it
		b.settle(9)
		time.Sleep(time.Minute)
		a.has("e0", "e1", "e4", "e5", "e9")
		b.has("e0", "e1", "e4", "e5", "e9")
		a.settle(0, 1, 4)
		time.Sleep(10 * time.Minute)
		b.has("e0", "e1", "e4", "e5", "e9") // e5 has not
		b.settle(5)
		time.Sleep(time.Minute)
		a.settle(first...)
		b.settle(second...)
		time.Sleep(time.Minute)
		for _, m := range []*member{a, b} {
			m.has()
			if m.base() != "v2" {
				t.Errorf("the base on %s is %s", m.id, m.base())
			}
		}
	})
}

// TestReplicaTellsOfCrash checks that a crash of an Envoy of a follower stops the change
// everywhere.
func TestReplicaTellsOfCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		b.settle(9)
		b.Tell(rollout.Crashed{ID: "e9", Filter: "hello"})
		time.Sleep(time.Second)
		a.has()
		b.has()
		st, err := b.Status(t.Context())
		if err != nil || st.Changes[0].State != rollout.Stopped {
			t.Errorf("%+v, %v", st, err)
		}
		if err := b.Do(t.Context(), rollout.Command{Verb: rollout.Promote, By: "ann"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if a.base() != "v2" || b.base() != "v2" {
			t.Errorf("promoted by way of the other: %s, %s", a.base(), b.base())
		}
	})
}

// times returns how often a server has received an event while it led.
func (m *member) times(g *group, e rollout.Event) (n int) {
	g.set(func() {
		for _, h := range m.heard {
			if reflect.DeepEqual(h, e) {
				n++
			}
		}
	})
	return n
}

// TestLeaderHears checks that the leader, and no other server, receives the events of all
// Envoys, including that one has returned as a new process to another server.
func TestLeaderHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		b.settle(9)
		b.Tell(rollout.Gone{ID: "e9", Had: true})
		time.Sleep(time.Second)
		a.Tell(rollout.Connected{Node: nodeOf(9)})
		a.Tell(rollout.Fresh{ID: "e9"})
		b.Tell(rollout.Connected{Node: nodeOf(20)}) // one that was not connected before
		b.Tell(rollout.Fresh{ID: "e20"})
		time.Sleep(time.Second)
		b.Tell(rollout.Crashed{ID: "e20", Filter: "hello"})
		time.Sleep(time.Second)
		for what, want := range map[string]struct {
			e rollout.Event
			n int
		}{
			"restart of e9":  {rollout.Restarted{ID: "e9"}, 1},
			"restart of e20": {rollout.Restarted{ID: "e20"}, 0},
			"crash on e20":   {rollout.Crashed{ID: "e20", Filter: "hello"}, 1},
		} {
			if n := a.times(g, want.e); n != want.n {
				t.Errorf("a %s was heard %d times, want %d", what, n, want.n)
			}
		}
		if len(b.heard) > 0 {
			t.Errorf("who follows has heard %v", b.heard)
		}
	})
}

// TestLeaderKilled checks that the other server continues, once it knows all Envoys.
func TestLeaderKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { b.end() }()
		b.settle(9)
		g.kill(a)
		time.Sleep(90 * time.Second) // e9 has been healthy for long enough
		b.has("e9")
		if st, err := b.Status(t.Context()); err != nil || st.Stalled == "" {
			t.Errorf("stalled: %q, %v", st.Stalled, err)
		}
		b.connect(first...) // they move over
		b.settle(first...)
		time.Sleep(30 * time.Second)
		b.has("e0", "e1", "e4", "e5", "e9")
	})
}

// TestSkewedClock checks that a server whose clock differs from that of the previous leader
// restarts the bake of a wave, because it can't know for how long the wave has been
// healthy.
func TestSkewedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { b.end() }()
		b.settle(9)
		g.set(func() { b.skewed = true })
		g.kill(a)
		time.Sleep(90 * time.Second)
		b.connect(first...)
		b.settle(first...)
		time.Sleep(40 * time.Second) // no server is missing any longer, and e9 has been healthy for long
		b.has("e9")
		time.Sleep(time.Minute)
		b.has("e0", "e1", "e4", "e5", "e9")
	})
}

// TestLeaderPaused checks that a server that has lost the lead without noticing changes
// nothing, and follows when it notices.
func TestLeaderPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		term := g.shared.leads()
		g.shared.depose(term) // its lease is over; A still believes that it leads
		time.Sleep(2 * time.Second)
		if now := g.shared.leads(); now == nil || now.by != "B" {
			t.Fatal("B does not lead")
		}
		// All that A receives is good, and it has waited for long enough: only the store
		// stops it.
		g.set(func() { a.alone = true })
		for _, i := range second {
			a.Tell(rollout.Connected{Node: nodeOf(i)})
		}
		a.settle(9)
		time.Sleep(150 * time.Second)
		a.has("e9")
		// It has noticed, and B has heard that e9 runs it.
		time.Sleep(time.Hour)
		a.has("e0", "e1", "e4", "e5", "e9")
		b.has("e0", "e1", "e4", "e5", "e9")
		if now := g.shared.leads(); now == nil || now.by != "B" {
			t.Error("B does not lead any more")
		}
		if err := b.Do(t.Context(), rollout.Command{Verb: rollout.Promote, By: "ann"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if a.base() != "v2" || b.base() != "v2" {
			t.Errorf("bases %s and %s", a.base(), b.base())
		}
	})
}

// TestCutFromLeader checks that waves wait for a live server that the leader can't hear,
// and that this server continues with what it knows.
func TestCutFromLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		b.settle(9)
		g.set(func() { b.cut = true })
		time.Sleep(time.Hour)
		a.has("e9")
		b.has("e9")
		b.Tell(rollout.Crashed{ID: "e9", Filter: "hello"}) // no other server hears it
		time.Sleep(time.Hour)
		b.has("e9")
		g.set(func() { b.cut = false })
		time.Sleep(10 * time.Second)
		a.has()
		b.has()
	})
}

// TestCutFromStore checks that a server that can't see writes continues with what it knows,
// and catches up when it can.
func TestCutFromStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		b.settle(9)
		b.way.setCut(true)
		time.Sleep(2 * time.Minute)
		a.has("e0", "e1", "e4", "e5", "e9")
		b.has("e9")
		a.settle(0, 1, 4)
		time.Sleep(time.Hour)
		a.has("e0", "e1", "e4", "e5", "e9") // e5 doesn't have it
		b.way.setCut(false)
		time.Sleep(time.Minute)
		b.has("e0", "e1", "e4", "e5", "e9")
	})
}

// TestOnItsOwn checks that, while no server can read the store, the known state is served,
// changes without a policy proceed, and bad ones are stopped. They stay so when the store
// is back.
func TestOnItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		defer func() { a.end() }()
		all := append(slices.Clone(first), second...)
		a.connect(all...)
		careful := careful()
		careful.Definitions = []string{"hello"}
		a.Tell(wanted("v1", careful))
		a.settle(all...)
		a.Tell(wanted("v2", careful))
		a.has("e9")
		a.settle(9)
		a.way.setCut(true)
		g.shared.leads().End() // its lease is over
		time.Sleep(time.Minute)
		a.has("e9")
		if st := a.Standing(); st.Stand != driver.Cares {
			t.Errorf("it %s", st.Stand)
		}
		a.Tell(wantedOf(map[string]string{"hello": "v2", "other": "v1"}, careful))
		synctest.Wait()
		a.mu.Lock()
		if len(a.plan.Base.Filters) != 2 {
			t.Error("what no policy is for does not go on")
		}
		a.mu.Unlock()
		a.Tell(rollout.Crashed{ID: "e9", Filter: "hello"})
		a.has()
		if err := a.Do(t.Context(), rollout.Command{Verb: rollout.Pause}); !errors.Is(err, rollout.ErrNot) {
			t.Errorf("a stopped change is paused: %v", err)
		}
		a.mu.Lock()
		plans := len(a.all)
		a.mu.Unlock()
		a.way.setCut(false)
		time.Sleep(time.Minute)
		if st := a.Standing(); st.Stand != driver.Leads {
			t.Errorf("it %s", st.Stand)
		}
		a.has()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, p := range a.all[plans:] {
			if len(p.Base.Filters) != 2 || p.Choose(nodeOf(9)) != "" {
				t.Error("when the store came back it went back for a moment")
			}
		}
	})
}

// TestOnItsOwnGivesUp checks that a server that was on its own follows what another has
// written meanwhile, as soon as it reaches it, and that nothing of its own is written when
// it leads later.
func TestOnItsOwnGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { b.end() }()
		b.settle(9)
		g.set(func() { b.cut = true })
		b.way.setCut(true)
		time.Sleep(20 * time.Second)
		if st := b.Standing(); st.Stand != driver.Cares {
			t.Errorf("it %s", st.Stand)
		}
		careful := careful()
		careful.Definitions = []string{"hello"}
		b.Tell(wantedOf(map[string]string{"hello": "v2", "other": "v1"}, careful))
		bases := func(m *member) int {
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			return len(m.plan.Base.Filters)
		}
		if n := bases(b); n != 2 {
			t.Errorf("%d filters, want two: no policy is for one of them", n)
		}
		if err := b.Do(t.Context(), rollout.Command{Verb: rollout.Stop}); err == nil || !strings.Contains(err.Error(), "would not survive") {
			t.Errorf("stopped on its own: %v", err)
		}
		b.has()
		a.has("e9")
		g.set(func() { b.cut = false })
		b.way.setCut(false)
		time.Sleep(10 * time.Second)
		if st := b.Standing(); st.Stand != driver.Follows {
			t.Errorf("it %s", st.Stand)
		}
		b.has("e9")
		if n := bases(b); n != 1 {
			t.Errorf("%d filters, and the leader has read of one", n)
		}
		b.Tell(wanted("v2", careful)) // the same as the leader
		g.kill(a)
		time.Sleep(5 * time.Second)
		if st := b.Standing(); st.Stand != driver.Leads {
			t.Errorf("it %s", st.Stand)
		}
		b.has("e9")
	})
}

// TestReplicasEnd checks that a server that shuts down hands over the lead.
func TestReplicasEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		a.end()
		synctest.Wait()
		if now := g.shared.leads(); now == nil || now.by != "B" {
			t.Error("B does not lead")
		}
		b.end()
		if g.shared.leads() != nil {
			t.Error("somebody leads")
		}
	})
}

// TestLeadsWithDefinitions checks that a server which knows no definitions leaves it to
// others to lead: it would write no base, and they would give their Envoys nothing.
func TestLeadsWithDefinitions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		time.Sleep(time.Minute)
		b := g.begin("B")
		defer func() { a.end(); b.end() }()
		b.Tell(hello())
		time.Sleep(5 * time.Second)
		if s := b.Standing().Stand; s != driver.Leads {
			t.Errorf("who has definitions %s", s)
		}
		if b.filters() != 1 {
			t.Errorf("its Envoys have %d filters", b.filters())
		}
		a.Tell(hello())
		time.Sleep(5 * time.Second)
		if s := a.Standing().Stand; s != driver.Follows || a.filters() != 1 {
			t.Errorf("who read them later %s, and its Envoys have %d filters", s, a.filters())
		}
	})
}

// TestApart checks that a follower whose definitions are not the leader's says so, for as
// long as that is so, and not while both only read a change at different times.
func TestApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a, b := g.begin("A"), g.begin("B")
		defer func() { a.end(); b.end() }()
		a.Tell(hello())
		time.Sleep(5 * time.Second)
		b.Tell(both())
		time.Sleep(10 * time.Second)
		if apart := b.Standing().Apart; len(apart) > 0 {
			t.Errorf("after ten seconds: %v", apart)
		}
		time.Sleep(10 * time.Second)
		if apart := b.Standing().Apart; len(apart) != 1 || apart[0].Kind != rollout.FilterKind {
			t.Errorf("what only the follower has: %v", apart)
		}
		if apart := a.Standing().Apart; len(apart) > 0 {
			t.Errorf("on the leader: %v", apart)
		}
		a.Tell(both())
		time.Sleep(5 * time.Second)
		if apart := b.Standing().Apart; len(apart) > 0 {
			t.Errorf("after the leader has read it too: %v", apart)
		}
		b.Tell(wanted("v2", nil))
		time.Sleep(20 * time.Second)
		if apart := b.Standing().Apart; len(apart) != 2 {
			t.Errorf("one is changed, and one is missing: %v", apart)
		}
	})
}

// begins gives commands one after the other, and waits for none to be saved.
func (m *member) begins(verbs ...rollout.Verb) {
	for _, verb := range verbs {
		go func() {
			if err := m.Do(m.t.Context(), rollout.Command{Verb: verb}); err != nil {
				m.t.Error(err)
			}
		}()
		synctest.Wait()
	}
}

// react has Envoys report what they run, as far as that is not what they have reported last, or
// is to be reported again.
func (m *member) react(envoys ...int) {
	synctest.Wait()
	m.mu.Lock()
	fresh := m.all[m.reacted:]
	m.reacted = len(m.all)
	var events []rollout.Event
	for _, i := range envoys {
		choice, n := m.plan.Choose(nodeOf(i)), nodeOf(i).ID
		said, is := m.runs[n]
		again := slices.ContainsFunc(fresh, func(p *rollout.Plan) bool { return p.Again })
		if !is || said != choice || again {
			m.runs[n] = choice
			events = append(events, rollout.Settled{ID: n, Choice: choice})
		}
	}
	m.mu.Unlock()
	for _, e := range events {
		m.Tell(e)
	}
	time.Sleep(2 * time.Second)
}

// TestStoppedAndResumedBetweenReads checks that a wave goes on whose change was stopped and
// resumed before a follower could read that: its Envoy has had it all the time.
func TestStoppedAndResumedBetweenReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, a, b := halfway(t)
		defer func() { a.end(); b.end() }()
		b.react(9)
		g.shared.delay(time.Second) // one write is on its way, the others become one
		a.begins(rollout.Pause, rollout.Stop, rollout.Resume)
		time.Sleep(5 * time.Second)
		g.shared.delay(0)
		time.Sleep(5 * time.Second)
		b.has("e9")
		for _, p := range b.all[b.reacted:] {
			if p.Choose(nodeOf(9)) == "" {
				t.Fatal("it has read that the change was stopped")
			}
		}
		b.react(9)
		time.Sleep(time.Minute)
		a.has("e0", "e1", "e4", "e5", "e9")
	})
}

// TestStoppedAndResumedWhileHeld checks the same at the leader, whose Envoys are given nothing
// while a change without a policy is written.
func TestStoppedAndResumedWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a, b := g.begin("A"), g.begin("B")
		defer func() { a.end(); b.end() }()
		careful := careful()
		careful.Definitions = []string{"hello"}
		a.connect(append(slices.Clone(first), second...)...)
		for _, m := range []*member{a, b} {
			m.Tell(wanted("v1", careful))
			time.Sleep(5 * time.Second)
		}
		a.Tell(wanted("v2", careful))
		a.has("e9")
		a.react(9)
		g.shared.delay(300 * time.Millisecond)
		a.Tell(wantedOf(map[string]string{"hello": "v2", "other": "v1"}, careful)) // its write is on its way, the others become one
		synctest.Wait()
		a.Tell(wantedOf(map[string]string{"hello": "v2", "other": "v2"}, careful))
		synctest.Wait()
		a.begins(rollout.Stop, rollout.Resume)
		time.Sleep(5 * time.Second)
		g.shared.delay(0)
		a.has("e9")
		for _, p := range a.all[a.reacted:] {
			if p.Choose(nodeOf(9)) == "" {
				t.Fatal("the plan without the change was published")
			}
		}
		a.react(9)
		time.Sleep(time.Minute)
		a.has("e0", "e1", "e4", "e5", "e9")
	})
}

// TestObservesNothingWithoutLead checks that a server that no longer leads observes neither the
// wave in progress nor the next one. It would take the wave in progress for one that begins
// when it leads again, and compare it with what its Envoys have told since they have the change.
func TestObservesNothingWithoutLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		g.options = rollout.Options{Signals: true, Before: 30 * time.Second}
		a, b := g.begin("A"), g.begin("B")
		defer func() { a.end(); b.end() }()
		a.connect(append(slices.Clone(first), second...)...)
		for _, m := range []*member{a, b} {
			m.Tell(wanted("v1", careful()))
			time.Sleep(5 * time.Second)
		}
		a.Tell(wanted("v2", careful()))
		time.Sleep(40 * time.Second)
		a.settle(9)
		time.Sleep(40 * time.Second) // the next wave is prepared
		synctest.Wait()
		if len(a.watched) != 2 {
			t.Fatalf("it observes %v", a.watched)
		}
		term := g.shared.leads()
		g.shared.depose(term)
		synctest.Wait() // B leads
		term.End()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if at := a.Standing().Stand; at != driver.Follows || len(a.watched) != 0 {
			t.Errorf("it %s, and observes %v", at, a.watched)
		}
	})
}

// TestHearsItselfOnly checks that a report that comes to the leader under its own ID, as from a
// copy of its data directory, does not make it forget its Envoys.
func TestHearsItselfOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		defer func() { a.end() }()
		a.connect(append(slices.Clone(first), second...)...)
		a.Tell(wanted("v1", careful()))
		time.Sleep(5 * time.Second)
		copied := roster.NewOwn()
		if _, err := a.Driver.Hear(t.Context(), g.shared.leads().number, "A", copied.Take()); !errors.Is(err, driver.ErrNotLeader) {
			t.Errorf("it takes it for its own: %v", err)
		}
		time.Sleep(time.Minute)
		a.Tell(wanted("v2", careful()))
		a.has("e9")
	})
}

// TestWaveBesideSlowWrite checks that a wave begins once it is saved, also if a follower asks
// meanwhile for what was to be saved before it.
func TestWaveBesideSlowWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a, b := g.begin("A"), g.begin("B")
		defer func() { a.end(); b.end() }()
		careful := careful()
		careful.Definitions = []string{"hello"}
		a.connect(append(slices.Clone(first), second...)...)
		for _, m := range []*member{a, b} {
			m.Tell(wanted("v1", careful))
			time.Sleep(5 * time.Second)
		}
		g.shared.delay(5 * time.Second)
		a.Tell(wantedOf(map[string]string{"hello": "v1", "other": "v1"}, careful))
		time.Sleep(1500 * time.Millisecond) // its Envoys have that by now
		a.Tell(wantedOf(map[string]string{"hello": "v2", "other": "v1"}, careful))
		time.Sleep(time.Minute)
		a.has("e9")
		g.shared.delay(0)
	})
}
