package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"wasmxds/definition"
)

// SignalsJudge is the name of the judge of what Envoys tell of requests.
const SignalsJudge = "signals"

// counts are what Envoys have done since a change was opened. Members are those
// that have it, control the others that it is for.
type counts struct {
	Refused         []string `json:"refused,omitempty"` // Envoys
	Crashes         int      `json:"crashes,omitempty"`
	ControlCrashes  int      `json:"controlCrashes,omitempty"`
	Restarts        int      `json:"restarts,omitempty"`
	ControlRestarts int      `json:"controlRestarts,omitempty"`
	Emptied         int      `json:"emptied,omitempty"` // waves whose Envoys all went

	// For how long, in seconds, of one Envoy each.
	Exposure float64 `json:"exposure,omitempty"`
	Control  float64 `json:"control,omitempty"`
}

// calm is the same of all Envoys, while no change was open.
type calm struct {
	crashes, restarts, exposure float64
}

// calmFor is about how far back that goes: what a fleet was like yesterday says
// little.
const calmFor = 6 * time.Hour

// elapse counts the time since the last step.
func (m *Machine) elapse() {
	passed := m.now.Sub(m.last).Seconds()
	if m.last.IsZero() {
		passed = 0
	}
	m.last = m.now
	if len(m.open) == 0 {
		fade := math.Exp(-passed / calmFor.Seconds())
		m.calm.crashes *= fade
		m.calm.restarts *= fade
		m.calm.exposure = m.calm.exposure*fade + passed*float64(m.fleet.connected)
	}
	for _, c := range m.open {
		if c.reaches() {
			c.Counts.Exposure += passed * float64(c.members)
			c.Counts.Control += passed * float64(max(0, c.concerned-c.members))
		}
	}
}

// moreRestarts says whether n Envoys that came back as new are at least as many as
// a policy says, and more than what happens to Envoys without the change explains:
// machines are replaced all day.
//
// What is to be expected of the Envoys that have it comes from the others, at the
// same time, and from all before there was any change; the higher counts. Each is
// taken at the end of what it may be, and n has to be four standard deviations
// away: it is looked at again and again, so the usual two would stop what is good.
func moreRestarts(n, most int, happened ...occurred) bool {
	if most <= 0 || n < most {
		return false
	}
	mean := 0.0
	for _, o := range happened {
		mean = max(mean, o.scale()*(o.n+2*math.Sqrt(o.n)))
	}
	return float64(n) > mean+4*math.Sqrt(mean)
}

// moreCrashes says whether n VMs that crashed are so many more than what is to be
// expected. A VM that is well does not crash, so one is enough where none of the
// others does; a filter that crashes now and then does so in both.
func moreCrashes(n, most int, happened ...occurred) bool {
	mean := 0.0
	for _, o := range happened {
		mean = max(mean, o.scale()*o.n)
	}
	return most > 0 && float64(n) >= float64(most)+mean+3*math.Sqrt(mean)
}

// occurred is how often something happened to other Envoys, in an exposure of there
// where those that have the change had one of here.
type occurred struct{ n, there, here float64 }

// scale is how much of it is to be expected. A smaller exposure says nothing of a
// larger one but what has happened.
func (o occurred) scale() float64 {
	if o.there <= o.here {
		return 1
	}
	return o.here / o.there
}

func (e Restarted) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil {
		return
	}
	m.change(n, func() { n.settled = "" })
	if len(m.open) == 0 {
		m.calm.restarts++
	}
	for _, c := range slices.Clone(m.open) {
		switch {
		case !c.reaches() || !c.concerns(&n.Node):
		case !c.Reached.has(&n.Node, n.place):
			c.Counts.ControlRestarts++
		default:
			k := &c.Counts
			k.Restarts++
			m.keep(c)
			if moreRestarts(k.Restarts, c.Policy.Stop.Restarts, occurred{float64(k.ControlRestarts), k.Control, k.Exposure}, occurred{m.calm.restarts, m.calm.exposure, k.Exposure}) {
				m.fail(c, fmt.Sprintf("Envoys of the wave came back as new %s, the last one %s", times(k.Restarts), n.ID))
			}
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
	for _, c := range slices.Clone(m.open) {
		switch {
		case !c.reaches() || !c.concerns(&n.Node):
		case !c.Reached.has(&n.Node, n.place):
			c.Counts.ControlCrashes++
		default:
			k := &c.Counts
			k.Crashes++
			m.keep(c)
			if moreCrashes(k.Crashes, c.Policy.Stop.Crashes, occurred{float64(k.ControlCrashes), k.Control, k.Exposure}, occurred{m.calm.crashes, m.calm.exposure, k.Exposure}) {
				m.fail(c, fmt.Sprintf("%s crashed %s, now on %s", e.Filter, times(k.Crashes), n.ID))
			}
		}
	}
}

func (e Refused) apply(m *Machine) {
	n := m.fleet.nodes[e.ID]
	if n == nil || m.plan == nil || m.plan.at(n) != e.Choice {
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
		blamed = append(blamed, c) // a listener, say, that it made another
	}
	for _, c := range blamed {
		if slices.Contains(c.Counts.Refused, e.ID) {
			continue
		}
		c.Counts.Refused = append(c.Counts.Refused, e.ID)
		m.keep(c)
		if most := c.Policy.Stop.Refused; most > 0 && len(c.Counts.Refused) >= most {
			m.fail(c, fmt.Sprintf("%s refused %s %s: %s", list(c.Counts.Refused), kindWord(e.Key.Kind), e.Key.Name, e.Message))
		}
	}
}

func (e Judged) apply(m *Machine) {
	c := m.find(e.Change)
	if c == nil || c.State != Rolling || c.Wave != e.Wave {
		return
	}
	v := verdict{e.Judge, e.Verdict, e.Words}
	if i := slices.IndexFunc(c.verdicts, func(o verdict) bool { return o.judge == e.Judge }); i >= 0 {
		c.verdicts[i] = v
	} else {
		c.verdicts = append(c.verdicts, v)
	}
	if e.Verdict == Bad {
		m.fail(c, e.Words)
	}
}

// judges are those that must find a wave good.
func (m *Machine) judges(c *change) []string {
	var all []string
	if m.o.Signals && len(c.cohorts.Control) > 0 {
		// Where all get the change at once there is nothing to compare with.
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
			return "too little traffic to judge it by (" + judge + ")"
		case said == Unable:
			return judge + " can't judge it"
		default:
			return judge + " has not judged it yet"
		}
	}
	return ""
}

// fail ends a change as its policy says.
func (m *Machine) fail(c *change, why string) {
	if c.State != Rolling {
		return // it is told once
	}
	if c.Policy != nil && c.Policy.Then == definition.Pause {
		m.pause(c, why)
		return
	}
	m.stop(c, why)
}

// pause keeps a change from reaching any more Envoys. (Invariant 4.)
func (m *Machine) pause(c *change, why string) {
	c.State, c.Reason, c.growth = Paused, why, nil
	m.keep(c)
	m.tell(c, "paused%s: %s", c.at(), why)
}

// stop takes a change from all that have it. (Invariant 4.)
func (m *Machine) stop(c *change, why string) {
	c.returning = map[string]bool{}
	if c.reaches() {
		for _, n := range m.fleet.nodes {
			if n.connected && c.has(n) {
				c.returning[n.ID] = true
			}
		}
		m.changed()
	}
	m.stopWatching(c)
	c.State, c.Reason, c.Ended, c.growth, c.Promoted = Stopped, why, m.now, nil, false
	c.back = len(c.returning)
	m.unsettle(c)
	m.recount(c)
	m.keep(c)
	m.recombine()
	m.again = true
	m.tell(c, "%s", m.words(c, m.now))
}

// returned notes what a node runs by now.
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

// again has a change that was stopped or paused begin anew, or go on.
func (m *Machine) resume(c *change) {
	if c.State == Stopped {
		c.Wave, c.Reached, c.Waves = 0, reached{}, nil
	} else if c.Wave > 0 {
		c.Waves = slices.Clone(c.Waves)
		c.Waves[c.Wave-1].Good = time.Time{} // it bakes again
	}
	c.State, c.Reason, c.Ended, c.returning, c.Counts, c.verdicts = Rolling, "", time.Time{}, nil, counts{}, nil
	m.recount(c)
	m.keep(c)
	m.recombine()
	m.again = true
}
