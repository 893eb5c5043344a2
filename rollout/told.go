package rollout

import (
	"strings"
	"time"
)

// ToldBefore is what the Envoys of a wave told before it began, in the form of
// whoever judges it. It can't be found out again when the wave is under way, so
// after a restart a [Watch] of the same Envoys has it.
type ToldBefore struct {
	Watch Watch // by which they were watched
	Told  []byte
}

// keptTold is that, as it is written down, by the change's id.
type keptTold struct {
	Wave         int       `json:"wave"`
	New          []string  `json:"new"`
	Control      []string  `json:"control"`
	ControlSince time.Time `json:"controlSince,omitzero"`
	Told         []byte    `json:"told"`
}

const toldKeys = "told/" // ID

func (e ToldBefore) apply(m *Machine) {
	c := m.find(e.Watch.Change)
	if c == nil || !c.cohorts.same(e.Watch) {
		return // others are watched by now
	}
	c.toldKept, m.kept.urgent = true, true
	m.kept.put(toldKeys+c.ID, keptTold{c.cohorts.Wave, c.cohorts.New, c.cohorts.Control, c.cohorts.ControlSince, e.Told})
}

// forgetTold has it no longer written down.
func (m *Machine) forgetTold(c *change) {
	if c.toldKept {
		m.kept.batch[toldKeys+c.ID] = nil
	}
	c.toldKept, c.resumed = false, nil
}

// told reads what was written down of waves that are under way.
func (r *restoring) told() {
	each(r, toldKeys, func(key string, k keptTold) error {
		c := r.m.find(strings.TrimPrefix(key, toldKeys))
		if c == nil || c.Wave != k.Wave || !c.reaches() {
			r.m.kept.batch[key] = nil // it has gone on since
			return nil
		}
		c.toldKept = true
		c.resumed = &Watch{Change: c.ID, Wave: k.Wave, Policy: c.Policy, New: k.New, Control: k.Control, ControlSince: k.ControlSince, Told: k.Told}
		return nil
	})
}

// watchOn has a wave watched on that began before this server started: at once, also
// where it is paused, as each Envoy tells only once that it runs the change.
func (m *Machine) watchOn(c *change) {
	if c.resumed == nil || c.cohorts.Change != "" {
		return
	}
	m.watch(*c.resumed, During)
	c.cohorts, c.resumed = *c.resumed, nil
	c.cohorts.Told = nil
}
