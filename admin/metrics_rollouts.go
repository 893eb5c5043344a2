package admin

import (
	"context"
	"unicode/utf8"

	"wasmxds/rollout"
)

// RolloutTold records an event of a change. It never blocks.
func (s *Server) RolloutTold(t rollout.Told) {
	if t.Cause != "" && (t.State == rollout.Stopped || t.Cause != rollout.ByHand) {
		s.metrics.stops.WithLabelValues(string(t.Cause)).Inc()
	}
	s.changes.Add(1)
}

// rollouts sends the metrics of changes in progress.
func (c collector) rollouts(e emit) {
	st, err := c.moving(context.Background())
	if err != nil {
		c.opts.Log.Warn("how far changes are is not known", "error", err)
		return
	}
	states, shown := map[rollout.State]int{}, 0
	for i := range st.Changes {
		if o := &st.Changes[i]; o.State.Open() {
			if states[o.State]++; shown < maxChanges {
				shown++
				change(e, o)
			}
		}
	}
	for _, state := range []rollout.State{rollout.Waiting, rollout.Rolling, rollout.Paused, rollout.Stopped} {
		e.gauge("wasmxds_rollouts", "Changes that have not reached all Envoys, by state.", float64(states[state]), "state", string(state))
	}
	e.gauge("wasmxds_rollouts_stalled", "1 while no wave can begin.", bit(st.Stalled != ""))
	e.gauge("wasmxds_definitions_rolled_back", "Definitions that differ from the version in force because a change was rolled back.", float64(len(st.Held)))
}

// change sends the metrics of a change.
func change(e emit, o *rollout.ChangeStatus) {
	labels := []string{"change", ShortID(o.ID), "of", titleOf(o.Title)}
	e.gauge("wasmxds_rollout_wave", "Current wave of a change; 0 before the first.", float64(o.Wave), labels...)
	e.gauge("wasmxds_rollout_waves", "Number of waves of a change.", float64(len(o.Waves)), labels...)
	const name, help = "wasmxds_rollout_envoys", "Connected Envoys that a change applies to (concerned), that should have it so far (reached), and that run it (settled)."
	for _, n := range []struct {
		state string
		n     int
	}{{"concerned", o.Concerned}, {"reached", o.Reached}, {"settled", o.Settled}} {
		e.gauge(name, help, float64(n.n), append([]string{"state", n.state}, labels...)...)
	}
}

// maxChanges bounds the number of changes that have metrics of their own.
const maxChanges = 50

// maxTitle bounds the label of a change of many definitions, in bytes.
const maxTitle = 80

func titleOf(title string) string {
	if len(title) <= maxTitle {
		return title
	}
	end := maxTitle
	for !utf8.RuneStart(title[end]) {
		end--
	}
	return title[:end] + "…"
}
