package rollout

import (
	"math"
	"time"
)

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
// same time, and from all before there was any change; the higher counts, and each
// is taken at the upper end of what it may be. Any is expected to do so every
// usualRestart, which only counts where they are many. So many must then be less
// likely than byChance: they are looked at again and again, in every wave.
func moreRestarts(n, most int, exposure float64, happened ...occurred) bool {
	if most <= 0 || n < most {
		return false
	}
	mean := exposure / usualRestart.Seconds()
	for _, o := range happened {
		mean = max(mean, o.scale()*(o.n+2*math.Sqrt(o.n)))
	}
	return atLeast(n, mean) < byChance
}

const (
	byChance     = 2e-4
	usualRestart = 12 * time.Hour
)

// atLeast is the probability that n or more happen where mean are to be expected, of
// what happens independently (a Poisson distribution).
func atLeast(n int, mean float64) float64 {
	if mean > 500 { // near enough to a normal one, and out of reach of what follows
		return math.Erfc((float64(n)-0.5-mean)/math.Sqrt(2*mean)) / 2
	}
	fewer, p := 0.0, math.Exp(-mean)
	for k := range n {
		fewer += p
		p *= mean / float64(k+1)
	}
	return 1 - fewer
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
