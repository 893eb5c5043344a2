package rollout

import (
	"slices"
	"time"
)

// progress moves a change as far as possible.
func (m *Machine) progress(c *change) {
	m.watchOn(c)
	if c.State == Paused || c.State == Stopped {
		return
	}
	if why := c.blocked(); why != "" {
		m.block(c, why)
		return
	}
	if c.State == Waiting {
		c.State, c.Reason = Rolling, ""
		m.keep(c)
	}
	if !c.counted && c.Policy != nil {
		m.recount(c)
	}
	switch {
	case c.growth != nil && c.growth.writing: // no Envoy gets it before this is saved
	case c.Policy == nil:
		m.join(c)
	case c.Promoted:
		m.rush(c)
	default:
		m.roll(c)
	}
}

// blocked returns what a change waits for before it begins; "": nothing.
func (c *change) blocked() string {
	if c.needs != "" {
		return c.needs
	}
	if c.Promoted {
		return ""
	}
	if c.heldBy != "" {
		return "waits until the Rollout that may be for it can be read: " + c.heldBy
	}
	if c.Policy == nil {
		return ""
	}
	for _, d := range c.Diffs {
		if d.To != nil && !d.To.Ready {
			return "waits for the module of " + d.Name
		}
	}
	return ""
}

// block makes a change wait. If Envoys have it, they get back the base, and it starts again
// when it can.
func (m *Machine) block(c *change, why string) {
	if c.State == Waiting && c.Reason == why {
		return
	}
	if c.reaches() {
		m.unsettle(c)
		m.changed()
	}
	m.stopWatching(c)
	c.State, c.Reason = Waiting, why
	c.anew()
	m.recount(c)
	m.keep(c)
	m.tell(c, "%s", why)
}

// rush takes a change to all Envoys, without the remaining waves.
func (m *Machine) rush(c *change) {
	if c.Reached.all() && c.reaches() {
		m.join(c)
		return
	}
	m.write(c, &growth{wave: c.policyWaves(), reached: everybody(), envoys: c.concerned, pass: true})
}

// roll moves a change from wave to wave.
func (m *Machine) roll(c *change) {
	switch {
	case m.deaf(): // there may be more Envoys
		return
	case c.expected > 0: // they are expected back
		m.wakeAt(m.now.Add(AwaitFor))
		return
	case c.Wave > 0 && c.members == 0 && c.away == 0:
		m.emptied(c)
		return
	case c.concerned == 0 && c.away == 0:
		m.nobody(c)
		return
	}
	c.idle = time.Time{}
	if c.Wave == 0 {
		m.advance(c, 1, true)
		return
	}
	c.had = c.had || c.members > 0
	if c.growth != nil && c.growth.wave == c.Wave {
		m.advance(c, c.Wave, true) // it begins again with others, whether its own are back or not
		return
	}
	switch {
	case c.settled == 0 || c.unsettled > 0:
		return
	}
	m.watchAgain(c)
	w := &c.Waves[c.Wave-1]
	if w.Good.IsZero() || w.Good.After(m.now) { // written by a clock that was ahead
		w.Good = m.now
		m.keep(c)
		m.tell(c, "wave %d of %d is good so far: %s", c.Wave, c.policyWaves(), ofAll(c.settled, c.members))
	}
	baked := w.Good.Add(c.Policy.Bake)
	if m.now.Before(baked) {
		m.wakeAt(baked)
	}
	early := baked.Add(-m.o.Before)
	switch good := !m.now.Before(baked) && m.judged(c) == ""; {
	case good:
		m.advance(c, c.Wave+1, true)
	case m.now.Before(early):
		m.wakeAt(early)
	case m.o.Before > 0 && c.growth == nil && m.now.Sub(c.prepared) >= prepareEvery:
		c.prepared = m.now // it looks at all Envoys
		m.advance(c, c.Wave+1, false)
	}
}

// prepareEvery is the interval at which the Envoys of the next wave are determined, while
// the current wave is not good yet and the next one would have none.
const prepareEvery = 10 * time.Second

// nobody lets a change join the base once it has concerned no Envoy for the bake time, and
// this process has run for long enough that Envoys would have connected.
func (m *Machine) nobody(c *change) {
	if c.idle.IsZero() {
		c.idle = m.now
	}
	due := c.idle.Add(c.Policy.Bake)
	if known := m.started.Add(AwaitFor); due.Before(known) {
		due = known
	}
	if m.now.Before(due) {
		m.wakeAt(due)
		return
	}
	m.tell(c, "it applies to no Envoy")
	m.rush(c)
}

// emptied starts a wave again if all its Envoys have disconnected. It does so only a few
// times, because the change may be the reason. If no Envoy is left, it waits.
func (m *Machine) emptied(c *change) {
	if known := m.started.Add(AwaitFor); !c.had && m.now.Before(known) {
		m.wakeAt(known) // they may be about to connect
		return
	}
	if c.had {
		c.had = false
		c.Counts.Emptied++
		m.keep(c)
		if c.Counts.Emptied >= max(1, c.Policy.Stop.Restarts) {
			m.fail(c, ByRestarts, "all Envoys of the wave went away, "+times(c.Counts.Emptied))
			return
		}
		m.tell(c, "all Envoys of wave %d have disconnected: it begins again with others", c.Wave)
	}
	if c.cohorts.Change != "" {
		m.stopWatching(c) // the next wave as well, which was to begin once this one is good
		c.waitsFor = nil
	}
	if c.concerned > 0 {
		m.advance(c, c.Wave, true)
	}
}

// advance prepares a wave, and begins it once the wave before is good. It skips waves
// without additional Envoys.
func (m *Machine) advance(c *change, wave int, good bool) {
	if c.waitsFor != nil {
		return
	}
	if c.growth == nil {
		for ; wave <= c.policyWaves(); wave++ {
			r, fresh, labels := m.waveOf(c, wave)
			if labels != nil {
				c.waitsFor = labels
				m.tell(c, "wave %d waits: no Envoy has the labels %s", wave, labelWords(labels))
				return
			}
			if len(fresh) > 0 {
				c.growth = &growth{wave: wave, reached: r, envoys: c.members + len(fresh), since: m.now, watch: m.cohorts(c, wave, r, fresh)}
				if m.before(c) > 0 {
					c.growth.observed = true
					m.watch(c.growth.watch, Before)
				}
				break
			}
		}
	}
	switch {
	case c.growth == nil && !good:
	case c.growth == nil:
		m.rush(c) // no Envoys are left to reach
	case !good:
	default:
		if ready := c.growth.since.Add(m.before(c)); m.now.Before(ready) {
			m.wakeAt(ready)
			return
		}
		if !m.known(c) {
			m.wakeAt(m.now.Add(askKnown))
			return
		}
		m.write(c, c.growth)
	}
}

// before returns how long the Envoys of the prepared wave are observed before it begins: 0
// if none of them can report requests.
func (m *Machine) before(c *change) time.Duration {
	w := c.growth.watch
	if !m.looksAt(c, w) || m.unable(w) {
		return 0
	}
	return m.o.Before
}

// askKnown is the interval at which known is checked.
const askKnown = 5 * time.Second

// known reports whether the Envoys of the prepared wave have sent enough signals for it to
// begin. With fewer, the comparison would depend on what happened to a single Envoy just
// before.
func (m *Machine) known(c *change) bool {
	g := c.growth
	if m.o.Known == nil || m.before(c) == 0 || !m.now.Before(g.since.Add(m.o.MostBefore)) {
		return true
	}
	return m.o.Known(m.now, Look{Change: c.ID, Wave: g.wave, Judge: SignalsJudge, Policy: c.Policy})
}

// write saves a wave. No Envoy gets the change before that is done, so that after a crash,
// this process or the next leader knows which Envoys may have it. (Invariant 3.)
func (m *Machine) write(c *change, g *growth) {
	g.waves = slices.Clone(c.Waves)[:min(len(c.Waves), max(g.wave-1, 0))]
	for i := range g.waves {
		if g.waves[i].Ended.IsZero() {
			g.waves[i].Ended = m.now
		}
	}
	for len(g.waves) < g.wave-1 { // skipped
		g.waves = append(g.waves, waveTimes{Began: m.now, Good: m.now, Ended: m.now, Envoys: c.members})
	}
	g.waves = append(g.waves, waveTimes{Began: m.now, Envoys: g.envoys})
	if c.growth != g {
		m.unprepare(c)
	}
	g.writing = true
	c.growth = g
	m.chosen = true // in followers' plans, as soon as this is saved
	m.countTurn()
	m.keep(c)
}

// written begins the waves that are saved.
func (m *Machine) written() {
	for _, c := range slices.Clone(m.open) {
		g := c.growth
		if g == nil || g.seq == 0 || g.seq > m.saved {
			continue
		}
		c.growth, c.Wave, c.Reached, c.Waves = nil, g.wave, g.reached, g.waves
		m.keep(c)
		m.kept.urgent = true // see BeforeWaves
		c.judgeAnew(c.Waves[c.Wave-1].Began)
		c.had = false
		if g.pass {
			m.join(c)
			continue
		}
		m.replan = true
		m.recount(c)
		c.had = c.members > 0
		m.stopWatching(c)
		c.cohorts = g.watch
		m.watch(c.cohorts, During)
		m.tell(c, "wave %d of %d begins: %s", c.Wave, c.policyWaves(), number(c.members, "Envoy", "Envoys"))
	}
}
