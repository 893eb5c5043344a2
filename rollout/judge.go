package rollout

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/definition"
)

// SignalsJudge is the name of the judge of the Envoys' signals.
const SignalsJudge = "signals"

// judges returns the names of the judges that must find a wave good.
func (m *Machine) judges(c *change) []string {
	var all []string
	if m.looksAt(c, c.cohorts) {
		all = append(all, SignalsJudge)
	}
	for i, a := range c.Policy.Ask {
		kind := "webhook"
		if a.Prometheus != nil {
			kind = "prometheus"
		}
		all = append(all, fmt.Sprintf("%s %d", kind, i+1))
	}
	return all
}

// looksAt reports whether the Envoys' signals are judged. If all Envoys get the change at
// once, there is nothing to compare with.
func (m *Machine) looksAt(c *change, w Watch) bool {
	stop := c.Policy.Stop
	return m.o.Signals && len(w.Control) > 0 && !(stop.Errors.Off() && stop.Latency.Off())
}

// unable reports whether no Envoy of a wave can report its requests. An Envoy that has not
// reported what it runs may be able to.
func (m *Machine) unable(w Watch) bool {
	return !slices.ContainsFunc(w.New, func(id string) bool {
		n := m.fleet.nodes[id]
		return n == nil || !n.unable
	})
}

// judgeAnew forgets the verdicts. Answers to what judges were asked before no longer count.
func (c *change) judgeAnew(now time.Time) { c.verdicts, c.judging = nil, now }

// judged returns which judge has not found the wave good; "": all have. If the Envoys can't
// be sampled, only SignalsJudge is left out: rejections, crashes and restarts are still
// seen. One of the policy's own judges that can't be reached has not found the wave good.
// (Invariant 5.)
func (m *Machine) judged(c *change) string {
	for _, judge := range m.judges(c) {
		said := Verdict("")
		for _, v := range c.verdicts {
			if v.judge == judge {
				said = v.verdict
			}
		}
		switch {
		case said == Good:
		case said == NoTraffic && c.Policy.Stop.NoTraffic == definition.GoOn:
		case said == Unable && judge == SignalsJudge:
		case said == NoTraffic:
			return "too little traffic to judge it (" + judge + ")"
		case said == Unable:
			return judge + " can't judge it"
		default:
			return judge + " has not judged it yet"
		}
	}
	return ""
}
