package rollout

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// The invariants, by number. Each function compares a Machine after a step with the one
// before, and returns a violation. They are written independently of what they check, look
// at every node each time, and are for tests. A comment "Invariant N" marks each guard that
// keeps one.

// invariant is an invariant that a step can violate.
type invariant func(a *audit, m *Machine) error

var invariants = []struct {
	number int
	holds  invariant
}{
	{1, nobodyIsAhead},
	{3, reachIsWrittenFirst},
	{4, stoppedReachesNobody},
	{5, wavesWereGood},
	{6, combinationsCompile},
	{8, changesAreWhatIsWanted},
	{9, wavesAreNoLarger},
}

// audit checks steps. It remembers the state before the step.
type audit struct {
	broken func(error)
	open   map[string]seen
	done   uint64          // newest change that joined the base
	saved  map[string]seen // what is known to be saved of each open change
	queue  []saving
}

// seen is the state of a change at some time.
type seen struct {
	state    State
	wave     int
	reached  reached
	growing  bool // its next wave is chosen
	writing  bool // its next wave is being saved
	promoted bool
}

// saving is what a batch contains of the open changes.
type saving struct {
	seq  uint64
	open map[string]seen
}

func newAudit(broken func(error)) *audit {
	return &audit{broken: broken, open: map[string]seen{}, saved: map[string]seen{}}
}

// began records the state that a machine begins with.
func (a *audit) began(m *Machine) {
	for _, c := range m.open {
		a.open[c.ID] = seen{state: c.State, wave: c.Wave, reached: c.Reached, promoted: c.Promoted}
	}
	a.saved, a.done = maps.Clone(a.open), m.seq
}

func (a *audit) check(m *Machine) {
	if m.ready.Save != nil {
		s := saving{m.ready.Save.Seq, map[string]seen{}}
		for _, c := range m.open {
			k := c.keep(0)
			s.open[c.ID] = seen{state: k.State, wave: k.Wave, reached: k.Reached, promoted: k.Promoted}
		}
		a.queue = append(a.queue, s)
	}
	for len(a.queue) > 0 && a.queue[0].seq <= m.saved {
		a.saved, a.queue = a.queue[0].open, a.queue[1:]
	}
	for _, i := range invariants {
		if err := i.holds(a, m); err != nil {
			a.broken(fmt.Errorf("invariant %d: %w", i.number, err))
		}
	}
	for _, c := range m.open {
		counted := *c
		if m.recount(&counted); c.counted && c.census != counted.census {
			a.broken(fmt.Errorf("%s is counted as %+v, and is %+v", c.ID, c.census, counted.census))
		}
	}
	clear(a.open)
	for _, c := range m.open {
		a.open[c.ID] = seen{c.State, c.Wave, c.Reached, c.growth != nil, c.growth != nil && c.growth.writing, c.Promoted}
	}
	a.done = m.seq
}

// nobodyIsAhead is invariant 1: an Envoy has a change only if one of its waves has reached
// it. Kept by has of changes, and reached of a Plan.
func nobodyIsAhead(_ *audit, m *Machine) error {
	for _, n := range m.fleet.nodes {
		for _, id := range m.plan.choice(n) {
			c := m.find(id)
			if c == nil {
				return fmt.Errorf("%s has %s, which is not open", n.ID, id)
			}
			if c.Wave == 0 || !c.Reached.has(&n.Node, placeOf(n.ID)) {
				return fmt.Errorf("%s has %s, whose wave %d has not reached it", n.ID, id, c.Wave)
			}
		}
	}
	return nil
}

func (p *Plan) choice(n *node) []string {
	if p == nil {
		return nil
	}
	return p.Choose(n.Node).IDs()
}

// reachIsWrittenFirst is invariant 3: no Envoy gets a change before this is saved, so that
// the next leader knows all Envoys that have it. Kept by write and written.
func reachIsWrittenFirst(a *audit, m *Machine) error {
	for _, n := range m.fleet.nodes {
		for _, id := range m.plan.choice(n) {
			s, is := a.saved[id]
			if !is {
				return fmt.Errorf("%s has %s, which is not written down", n.ID, id)
			}
			if !s.reached.has(&n.Node, n.place) {
				return fmt.Errorf("%s has %s, and it is not written down that it is reached", n.ID, id)
			}
		}
	}
	return nil
}

// stoppedReachesNobody is invariant 4: no Envoy has a change that is stopped or waits, and
// a paused change reaches no further Envoys. Kept by reaches, stop, pause and block.
func stoppedReachesNobody(a *audit, m *Machine) error {
	for _, n := range m.fleet.nodes {
		for _, id := range m.plan.choice(n) {
			if c := m.find(id); c != nil && c.State != Rolling && c.State != Paused {
				return fmt.Errorf("%s has %s, which is %s", n.ID, id, c.State)
			}
		}
	}
	for _, c := range m.open {
		was, is := a.open[c.ID]
		if is && was.state == Paused && c.State == Paused && (was.wave != c.Wave || was.reached.UpTo != c.Reached.UpTo || !slices.Equal(was.reached.IDs, c.Reached.IDs)) {
			return fmt.Errorf("%s is paused, and reaches further than before", c.ID)
		}
		if c.Wave > 0 && c.State == Waiting {
			return fmt.Errorf("%s waits, and is in wave %d already", c.ID, c.Wave)
		}
		if c.State != Rolling && c.growth != nil {
			return fmt.Errorf("%s is %s, and about to reach further", c.ID, c.State)
		}
	}
	return nil
}

// wavesWereGood is invariant 5: a wave begins, and a change joins the base, only when the
// wave before has been good for as long as the policy says: all of its Envoys that are
// connected run it, nothing has stopped it, and each judge has found it good. No verdict is
// not a good one. Kept by roll, judged and fail.
func wavesWereGood(a *audit, m *Machine) error {
	good := func(c *change) error {
		w := c.Waves[c.Wave-1]
		if m.now.Sub(w.Good) < c.Policy.Bake || w.Good.IsZero() {
			return fmt.Errorf("%s goes on from wave %d, which has been good since %v", c.ID, c.Wave, w.Good)
		}
		return nil
	}
	for _, c := range m.open {
		was := a.open[c.ID]
		g := c.growth
		if g == nil || !g.writing || was.writing && was.wave == c.Wave || c.Promoted || c.Wave == 0 || g.wave == c.Wave {
			continue
		}
		run, members := 0, 0
		for _, n := range m.fleet.nodes {
			if !n.connected || !c.concerns(&n.Node) {
				continue
			}
			if !c.Reached.has(&n.Node, n.place) {
				continue
			}
			members++
			if n.settled.Has(c.ID) {
				run++
			} else if !n.since.After(c.Waves[c.Wave-1].Began) {
				return fmt.Errorf("%s goes on from wave %d, and %s does not run it", c.ID, c.Wave, n.ID)
			}
		}
		if members == 0 {
			continue // its Envoys are gone, and others take their place
		}
		if run == 0 {
			return fmt.Errorf("%s goes on from wave %d, and nobody runs it", c.ID, c.Wave)
		}
		if err := good(c); err != nil {
			return err
		}
		for _, judge := range m.judges(c) {
			i := slices.IndexFunc(c.verdicts, func(v verdict) bool { return v.judge == judge })
			if i < 0 || c.verdicts[i].verdict == Bad || c.verdicts[i].verdict == NoTraffic && c.Policy.Stop.NoTraffic != definition.GoOn {
				return fmt.Errorf("%s goes on from wave %d without a verdict of %s", c.ID, c.Wave, judge)
			}
		}
	}
	for _, c := range m.done {
		if c.seq <= a.done || c.Policy == nil || c.Promoted || c.Wave == 0 || c.idle != (time.Time{}) || len(c.Waves) == 0 {
			continue
		}
		if a.open[c.ID].writing && a.open[c.ID].wave < c.Wave {
			continue // no Envoys were left to reach
		}
		if err := good(c); err != nil {
			return err
		}
	}
	return nil
}

// combinationsCompile is invariant 6: no Envoy gets a combination of changes that does not
// compile. Kept by combined, broken, recombineOnce and block.
func combinationsCompile(_ *audit, m *Machine) error {
	if m.o.Check == nil || m.plan == nil || m.wanted == nil {
		return nil
	}
	known := slices.Concat(m.o.Check(m.plan.Base), m.o.Check(m.wanted.whole))
	compile := func(choice Choice, set *module.Set) error {
		for _, p := range m.o.Check(set) {
			if !slices.Contains(known, p) {
				return fmt.Errorf("the choice %q does not compile: %s", choice, p)
			}
		}
		return nil
	}
	for choice, set := range m.plan.Sets {
		if err := compile(choice, set); err != nil {
			return err
		}
	}
	for _, n := range m.fleet.nodes {
		if c := m.plan.Choose(n.Node); c != "" && m.plan.Sets[c] == nil {
			return fmt.Errorf("%s has the choice %s, which is not in the plan", n.ID, c)
		}
	}
	return nil
}

// changesAreWhatIsWanted is invariant 8: no two open changes contain the same definition,
// and the base with all of them is the desired state, except for what was rolled back, and
// for lost modules. Kept by differences and supersede.
func changesAreWhatIsWanted(_ *audit, m *Machine) error {
	if m.wanted == nil {
		return nil
	}
	have := maps.Clone(m.base)
	by := map[Key]string{}
	for _, c := range m.open {
		for _, d := range c.Diffs {
			if other := by[d.Key]; other != "" {
				return fmt.Errorf("%s and %s are both of %v", other, c.ID, d.Key)
			}
			by[d.Key] = c.ID
			if hashIn(m.base[d.Key]) != hashIn(d.From) {
				return fmt.Errorf("%s is of another %v than the base has", c.ID, d.Key)
			}
			if d.To == nil {
				delete(have, d.Key)
			} else {
				have[d.Key] = d.To
			}
		}
	}
	want := maps.Clone(m.wanted.items)
	for key, h := range m.held {
		if h.To == nil {
			delete(want, key)
		} else {
			want[key] = h.To
		}
	}
	for key, i := range want {
		if hashIn(have[key]) != i.Hash && i.Ready {
			return fmt.Errorf("%v is wanted otherwise than the base and the changes have it", key)
		}
	}
	for key := range have {
		if want[key] == nil {
			return fmt.Errorf("%v is not wanted, and neither the base nor a change is without it", key)
		}
	}
	return nil
}

// wavesAreNoLarger is invariant 9: when its Envoys are chosen, a wave has no more than its
// policy says. Kept by waveOf.
func wavesAreNoLarger(a *audit, m *Machine) error {
	for _, c := range m.open {
		g := c.growth
		if g == nil || a.open[c.ID].growing || c.Promoted || g.pass {
			continue
		}
		w := c.Policy.Waves[g.wave-1]
		var fresh, upTo, concerned int
		for _, n := range m.fleet.nodes {
			if !n.connected || !c.concerns(&n.Node) {
				continue
			}
			concerned++
			if n.place <= g.reached.UpTo {
				upTo++
			}
			if !g.reached.has(&n.Node, n.place) || c.Reached.has(&n.Node, n.place) {
				continue
			}
			fresh++
			if w.Labels != nil && !labelled(&n.Node, w.Labels) {
				return fmt.Errorf("wave %d of %s reaches %s, which does not have its labels", g.wave, c.ID, n.ID)
			}
		}
		if w.Count > 0 && fresh > w.Count {
			return fmt.Errorf("wave %d of %s reaches %d Envoys more, of %d", g.wave, c.ID, fresh, w.Count)
		}
		share := max(1, int(math.Ceil(w.Share*float64(concerned)-1e-9)))
		if w.Share > 0 && w.Share < 1 && upTo > share && g.reached.UpTo != c.Reached.UpTo {
			return fmt.Errorf("wave %d of %s reaches %d of %d Envoys, and should %d", g.wave, c.ID, upTo, concerned, share)
		}
	}
	return nil
}

// Same is invariant 2: the base, and what each Envoy has, follow from the saved state. It
// compares two machines, one of which may have begun with what the other has saved. Kept by
// keep, flush and New.
func Same(a, b *Machine) error {
	if len(a.base) != len(b.base) {
		return fmt.Errorf("invariant 2: a base of %d definitions, and one of %d", len(a.base), len(b.base))
	}
	for key, i := range a.base {
		if hashIn(b.base[key]) != i.Hash {
			return fmt.Errorf("invariant 2: the bases have another %v", key)
		}
	}
	for _, n := range a.fleet.nodes {
		if b.fleet.nodes[n.ID] == nil {
			continue
		}
		if x, y := a.plan.Choose(n.Node), b.plan.Choose(n.Node); x != y {
			return fmt.Errorf("invariant 2: %s has %q, and %q", n.ID, x, y)
		}
	}
	return nil
}

// Unfinished is invariant 7: once nothing goes wrong any more, every change ends in the
// base. Kept by progress, and wakeAt for all that waits for time. It returns an
// error that names a change that is still open.
func (m *Machine) Unfinished() error {
	for _, c := range m.open {
		return fmt.Errorf("invariant 7: %s (%s) is %s: %s", c.ID, title(c.Diffs), c.State, m.words(c, m.now))
	}
	return nil
}
