package rollout

import (
	"strings"
	"time"
)

// ToldBefore contains the signals of a wave's Envoys from before it began, encoded by their
// judge. They can't be collected again during the wave, so after a restart a [Watch] of the
// same Envoys includes them.
type ToldBefore struct {
	Watch Watch // the watch that collected them
	Told  []byte
}

// keptTold is the saved form of ToldBefore, by the ID of the change.
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
		return // other Envoys are observed now
	}
	c.toldKept, m.kept.urgent = true, true
	m.kept.put(toldKeys+c.ID, keptTold{c.cohorts.Wave, c.cohorts.New, c.cohorts.Control, c.cohorts.ControlSince, e.Told})
}

// forgetTold removes it from the saved state.
func (m *Machine) forgetTold(c *change) {
	if c.toldKept {
		m.kept.batch[toldKeys+c.ID] = nil
	}
	c.toldKept, c.resumed = false, nil
}

// told decodes the saved signals of waves in progress.
func (r *restoring) told() {
	each(r, toldKeys, func(key string, k keptTold) error {
		c := r.m.find(strings.TrimPrefix(key, toldKeys))
		if c == nil || c.Wave != k.Wave || !c.reaches() {
			r.m.kept.batch[key] = nil // the change has moved on since
			return nil
		}
		c.toldKept = true
		c.resumed = &Watch{Change: c.ID, Wave: k.Wave, Policy: c.Policy, New: k.New, Control: k.Control, ControlSince: k.ControlSince, Told: k.Told}
		return nil
	})
}

// watchOn continues to observe a wave that began before this process started: at once, even
// if it is paused, because each Envoy reports only once that it runs the change.
func (m *Machine) watchOn(c *change) {
	if c.resumed == nil || c.cohorts.Change != "" {
		return
	}
	m.watch(*c.resumed, During)
	c.cohorts, c.resumed = *c.resumed, nil
	c.cohorts.Told = nil
}
