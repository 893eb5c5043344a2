package definition

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Rollout determines how changes of certain definitions reach a fleet: which
// Envoys get them first, for how long, and what stops them.
type Rollout struct {
	Name string // unique among Rollouts
	Pos  Position
	// Definitions are globs of the names that the Rollout applies to. Unlike in
	// a [Selector], * and ? also match slashes, because the name of a filter
	// that is written in a listener contains one.
	Definitions []string
	// Waves are in their order. Each includes the Envoys of those before it.
	// The last always includes all: its Share is 1.
	Waves []Wave
	Bake  time.Duration // how long each wave must be good before the next begins
	Stop  Stop
	Then  Then
	Ask   []Judge
}

// Wave is a part of the Envoys that a change affects. Exactly one field is set.
type Wave struct {
	Labels map[string]string // Envoys with all of these labels
	Count  int               // number of Envoys
	Share  float64           // fraction of the Envoys; at least one Envoy
}

// Stop has the conditions that stop a change.
type Stop struct {
	Refused   int // number of Envoys that reject it
	Crashes   int // number of VM crashes above that of the control cohort
	Restarts  int // number of the wave's Envoys that restart
	Errors    ErrorRise
	Latency   LatencyRise
	NoTraffic NoTraffic
}

// ErrorRise is an increase of the fraction of requests that fail.
type ErrorRise struct {
	More       float64 // above the control cohort, as a fraction of all requests: 0.01 is from 2 % to 3 %
	Confidence float64 // fraction of 1
}

// Off reports whether errors are ignored.
func (e ErrorRise) Off() bool { return e.More >= 1 }

// LatencyRise is an increase of a percentile of request durations.
type LatencyRise struct {
	P          float64 // the percentile, such as 99
	More       float64 // as a fraction of the control cohort's value: 0.25 is from 100 ms to 125 ms
	Confidence float64 // fraction of 1
}

// Off reports whether latency is ignored.
func (l LatencyRise) Off() bool { return l.More >= 100 }

// NoTraffic determines what happens to a wave that has baked without enough
// traffic to judge it.
type NoTraffic string

const (
	Wait NoTraffic = "wait"  // it waits for traffic
	GoOn NoTraffic = "go on" // the next wave begins
)

// Then determines what happens when a change is stopped.
type Then string

const (
	Rollback Then = "rollback" // Envoys that have it get what they had before
	Pause    Then = "pause"    // Envoys that have it keep it, and no others get it
)

// Judge is asked about a change. Exactly one field is set.
type Judge struct {
	Prometheus *PrometheusJudge
	Webhook    *WebhookJudge
}

// PrometheusJudge finds a change bad while the value of a query is above Max.
type PrometheusJudge struct {
	URL   string // of the server, without /api/v1/query
	Query string
	Max   float64
}

// WebhookJudge is a server that judges a change.
type WebhookJudge struct{ URL string }

// Matches reports whether the Rollout applies to a definition of that name.
func (r *Rollout) Matches(name string) bool { return matchesName(r.Definitions, name) }

func matchesName(globs []string, name string) bool {
	name = unslashed(name)
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(unslashed(glob), name)
		return ok && err == nil
	})
}

// unslashed replaces slashes by a character that path.Match does not treat
// specially, and that no name contains.
func unslashed(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// PolicyOf returns the policy for a change of the definitions with these names:
// the first, by name, that applies to any of them. It returns nil if there is
// none.
func PolicyOf(rollouts []*Rollout, names []string) *Rollout {
	var first *Rollout
	for _, r := range rollouts {
		if (first == nil || r.Name < first.Name) && slices.ContainsFunc(names, r.Matches) {
			first = r
		}
	}
	return first
}

// HeldBy returns a Rollout that can't be read and may be the policy for a
// change of these definitions instead of the given one. It returns nil if there
// is none, and the change need not wait.
func HeldBy(holes []*Hole, policy *Rollout, names []string) *Hole {
	for _, h := range holes {
		if policy != nil && h.Name != "" && h.Name >= policy.Name {
			continue // the policy takes precedence
		}
		if h.Definitions == nil && len(names) > 0 || slices.ContainsFunc(names, func(name string) bool { return matchesName(h.Definitions, name) }) {
			return h
		}
	}
	return nil
}
