package rollout

import (
	"fmt"
	"slices"

	"wasmxds/definition"
)

// SignalsJudge is the name of the judge of what Envoys tell of requests.
const SignalsJudge = "signals"

// judges are those that must find a wave good.
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

// looksAt says whether what Envoys tell of requests is judged. Where all get the
// change at once there is nothing to compare with.
func (m *Machine) looksAt(c *change, w Watch) bool {
	stop := c.Policy.Stop
	return m.o.Signals && len(w.Control) > 0 && !(stop.Errors.Off() && stop.Latency.Off())
}

// unable says whether none of those that a wave gives a change to can tell of its
// requests. Of an Envoy that has not said what it runs that is not known.
func (m *Machine) unable(w Watch) bool {
	return !slices.ContainsFunc(w.New, func(id string) bool {
		n := m.fleet.nodes[id]
		return n == nil || !n.unable
	})
}

// judged says which judge has not found the wave good; "": all have. That Envoys
// can't be sampled takes only that judge away, what refuses, crashes and restarts
// is still seen. A judge of one's own that can't be reached has not said good.
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
