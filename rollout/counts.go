package rollout

import (
	"math"
	"time"
)

// counts are events of Envoys since a change was opened. Members are the Envoys that have
// it, control are the others that it concerns.
type counts struct {
	Refused         []string `json:"refused,omitempty"` // Envoys
	Crashes         int      `json:"crashes,omitempty"`
	ControlCrashes  int      `json:"controlCrashes,omitempty"`
	Restarts        int      `json:"restarts,omitempty"`
	ControlRestarts int      `json:"controlRestarts,omitempty"`
	Emptied         int      `json:"emptied,omitempty"` // waves all of whose Envoys disconnected

	// Exposure times in seconds, summed over Envoys.
	Exposure float64 `json:"exposure,omitempty"`
	Control  float64 `json:"control,omitempty"`
}

// mostRefused is how many Envoys that reject a change are remembered, if no more stop it: it
// may be paused for days, while Envoys come and go.
const mostRefused = 1000

// calm has the same counts for all Envoys, while no change was open.
type calm struct {
	crashes, restarts, exposure float64
}

// calmFor is the time constant with which these counts decay: what a fleet was like
// yesterday says little.
const calmFor = 6 * time.Hour

// elapse adds the time since the last step to the exposures.
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

// moreRestarts reports whether the number n of Envoys that restarted reaches the policy's
// limit most and exceeds what is explained without the change: machines are replaced all
// day.
//
// The expected number comes from the other Envoys, at the same time, and from all Envoys
// before any change was open. The higher of the two applies, and each is taken at the upper
// end of its uncertainty. Every Envoy is also expected to restart once per usualRestart,
// which matters only for many Envoys. The probability of n restarts must be less than
// byChance, because the test is repeated many times, in every wave.
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

// atLeast returns the probability of n or more independent events if mean are expected (a
// Poisson distribution).
func atLeast(n int, mean float64) float64 {
	if mean > 500 { // close enough to a normal distribution, and out of range of the code below
		return math.Erfc((float64(n)-0.5-mean)/math.Sqrt(2*mean)) / 2
	}
	fewer, p := 0.0, math.Exp(-mean)
	for k := range n {
		fewer += p
		p *= mean / float64(k+1)
	}
	return 1 - fewer
}

// moreCrashes reports whether the number n of VM crashes exceeds what is expected. A
// healthy VM does not crash, so one crash is enough if none of the other Envoys has any. A
// filter that crashes now and then does so in both groups.
func moreCrashes(n, most int, happened ...occurred) bool {
	mean := 0.0
	for _, o := range happened {
		mean = max(mean, o.scale()*o.n)
	}
	return most > 0 && float64(n) >= float64(most)+mean+3*math.Sqrt(mean)
}

// occurred is how often something happened to other Envoys, with their exposure (there) and
// the exposure of the Envoys that have the change (here).
type occurred struct{ n, there, here float64 }

// scale returns the factor by which n is expected here. A shorter exposure is not
// extrapolated to a longer one.
func (o occurred) scale() float64 {
	if o.there <= o.here {
		return 1
	}
	return o.here / o.there
}
