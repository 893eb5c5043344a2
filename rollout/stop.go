package rollout

import (
	"fmt"
	"iter"
	"slices"
	"time"

	"wasmxds/definition"
)

func (e Restarted) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil {
		return
	}
	m.change(n, func() { n.settled = "" })
	m.settledSince(e.ID)
	if len(m.open) == 0 {
		m.calm.restarts++
	}
	for c, has := range m.underWay(n) {
		k := &c.Counts
		if !has {
			k.ControlRestarts++
			continue
		}
		k.Restarts++
		m.keep(c)
		if moreRestarts(k.Restarts, c.Policy.Stop.Restarts, k.Exposure, occurred{float64(k.ControlRestarts), k.Control, k.Exposure}, occurred{m.calm.restarts, m.calm.exposure, k.Exposure}) {
			m.fail(c, ByRestarts, fmt.Sprintf("Envoys of the wave restarted %s, the last one %s", times(k.Restarts), n.ID))
		}
	}
}

func (e Crashed) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil {
		return
	}
	if len(m.open) == 0 {
		m.calm.crashes++
	}
	for c, has := range m.underWay(n) {
		k := &c.Counts
		if !has {
			k.ControlCrashes++
			continue
		}
		k.Crashes++
		m.keep(c)
		if moreCrashes(k.Crashes, c.Policy.Stop.Crashes, occurred{float64(k.ControlCrashes), k.Control, k.Exposure}, occurred{m.calm.crashes, m.calm.exposure, k.Exposure}) {
			what := e.Filter
			if e.Unsure {
				what += " or another filter"
			}
			m.fail(c, ByCrashes, fmt.Sprintf("%s crashed %s, now on %s", what, times(k.Crashes), n.ID))
		}
	}
}

// underWay returns the changes that Envoys have and that concern a node, and whether that
// node has each. The caller may stop them meanwhile.
func (m *Machine) underWay(n *node) iter.Seq2[*change, bool] {
	return func(yield func(*change, bool) bool) {
		for _, c := range slices.Clone(m.open) {
			if c.reaches() && c.concerns(&n.Node) && !yield(c, c.Reached.has(&n.Node, n.place)) {
				return
			}
		}
	}
}

func (e Refused) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil {
		return
	}
	if m.plan == nil || m.plan.at(n) != e.Choice {
		m.ahead(e.ID, e.Key, e)
		return
	}
	var blamed []*change
	for _, c := range m.open {
		if !e.Choice.Has(c.ID) {
			continue
		}
		if c.touches(e.Key) {
			blamed = []*change{c}
			break
		}
		blamed = append(blamed, c) // such as a listener that it has altered
	}
	for _, c := range blamed {
		most := c.Policy.Stop.Refused
		if slices.Contains(c.Counts.Refused, e.ID) || len(c.Counts.Refused) >= max(most, mostRefused) {
			continue
		}
		c.Counts.Refused = append(c.Counts.Refused, e.ID)
		m.keep(c)
		if most > 0 && len(c.Counts.Refused) >= most {
			m.fail(c, ByRefusals, fmt.Sprintf("%s rejected %s %s: %s", list(c.Counts.Refused), kindWord(e.Key.Kind), e.Key.Name, e.Message))
		}
	}
}

func (e Judged) apply(m *Machine) {
	c := m.find(e.Change)
	if c == nil || c.State != Rolling || c.Wave != e.Wave || !c.judging.Equal(e.Since) {
		return
	}
	v := verdict{e.Judge, e.Verdict, e.Words}
	if i := slices.IndexFunc(c.verdicts, func(o verdict) bool { return o.judge == e.Judge }); i >= 0 {
		c.verdicts[i] = v
	} else {
		c.verdicts = append(c.verdicts, v)
	}
	if e.Verdict == Bad {
		m.fail(c, byJudge(e.Judge), e.Words)
	}
}

// fail stops or pauses a change, as its policy says.
func (m *Machine) fail(c *change, by Cause, why string) {
	if c.State != Rolling {
		return // only the first failure is reported
	}
	if c.Policy != nil && c.Policy.Then == definition.Pause {
		m.pause(c, by, why)
		return
	}
	m.stop(c, by, why)
}

// pause keeps a change from reaching more Envoys. (Invariant 4.)
func (m *Machine) pause(c *change, by Cause, why string) {
	m.unprepare(c)
	c.State, c.Reason = Paused, why
	m.keep(c)
	m.tell(c, "paused%s: %s", c.at(), why)
	m.because(by)
}

// stop takes a change from all Envoys that have it. (Invariant 4.)
func (m *Machine) stop(c *change, by Cause, why string) {
	c.returning = map[string]bool{}
	if c.reaches() {
		for n := range m.members(c) {
			c.returning[n.ID] = true
		}
		m.changed()
	}
	m.stopWatching(c)
	c.State, c.Reason, c.Ended, c.Promoted = Stopped, why, m.now, false
	c.back = len(c.returning)
	m.unsettle(c)
	m.recount(c)
	m.keep(c)
	m.recombine()
	m.again = true
	m.tell(c, "%s", m.words(c, m.now))
	m.because(by)
}

// because sets the cause of the last report.
func (m *Machine) because(by Cause) { m.ready.Told[len(m.ready.Told)-1].Cause = by }

// returned records what a node runs now.
func (m *Machine) returned(id string, choice Choice) {
	for _, c := range m.open {
		if c.returning[id] && !choice.Has(c.ID) {
			delete(c.returning, id)
			if len(c.returning) == 0 {
				m.tell(c, "%s", m.words(c, m.now))
			}
		}
	}
}

// resume restarts a stopped change, or continues a paused one.
func (m *Machine) resume(c *change) {
	was := c.State
	c.State, c.Reason, c.Ended, c.returning = Rolling, "", time.Time{}, nil
	c.judgeAnew(m.now)
	if was == Stopped {
		c.Counts = counts{}
		c.anew()
		m.govern(c)
	} else {
		c.Counts = counts{Refused: c.Counts.Refused} // those Envoys have it, and won't report that again
		if c.Wave > 0 {
			c.Waves = slices.Clone(c.Waves)
			c.Waves[c.Wave-1].Good = time.Time{} // it bakes again
		}
	}
	m.recount(c)
	m.keep(c)
	m.recombine()
	m.again = true
}
