package definition

import (
	"path"
	"slices"
	"strings"
	"time"
)

// Rollout says how changes of certain definitions reach a fleet: which Envoys
// get them first, for how long, and what stops them.
type Rollout struct {
	Name string // unique among Rollouts
	Pos  Position
	// Definitions are globs of the names that it is for. Unlike those of a
	// [Selector], their * and ? match slashes as well: the name of a filter that
	// stands in a listener has one.
	Definitions []string
	// Waves: each has the Envoys of those before it, too. The last is always of
	// everyone: Share is 1.
	Waves []Wave
	Bake  time.Duration // for which each wave must be good before the next begins
	Stop  Stop
	Then  Then
	Ask   []Judge
}

// Wave is a part of the Envoys that a change concerns. One of its fields is
// set.
type Wave struct {
	Labels map[string]string // those with all of these labels
	Count  int               // so many of them
	Share  float64           // of 1; one Envoy at least
}

// Stop is what ends a change.
type Stop struct {
	Refused   int // Envoys that refuse it
	Crashes   int // of VMs, more than in the control cohort
	Restarts  int // Envoys of the wave that come back as new
	Errors    ErrorRise
	Latency   LatencyRise
	NoTraffic NoTraffic
}

// ErrorRise is a rise of the share of requests that fail.
type ErrorRise struct {
	More       float64 // than in the control cohort, of all requests: 0.01 is from 2 % to 3 %
	Confidence float64 // of 1
}

// Off says that errors are not looked at.
func (e ErrorRise) Off() bool { return e.More >= 1 }

// LatencyRise is a rise of a percentile of how long requests take.
type LatencyRise struct {
	P          float64 // 99: of 100 requests, 99 are not slower
	More       float64 // of what it is in the control cohort: 0.25 is from 100 ms to 125 ms
	Confidence float64 // of 1
}

// Off says that latency is not looked at.
func (l LatencyRise) Off() bool { return l.More >= 100 }

// NoTraffic says what becomes of a wave that has baked without the traffic to
// judge it by.
type NoTraffic string

const (
	Wait NoTraffic = "wait"  // it waits for traffic
	GoOn NoTraffic = "go on" // the next wave begins
)

// Then says what follows when a change is stopped.
type Then string

const (
	Rollback Then = "rollback" // Envoys that have it get what they had before
	Pause    Then = "pause"    // they keep it, and no more get it
)

// Judge is asked about a change. One of its fields is set.
type Judge struct {
	Prometheus *PrometheusJudge
	Webhook    *WebhookJudge
}

// PrometheusJudge finds a change bad while a query has a value above Max.
type PrometheusJudge struct {
	URL   string // of the server, without /api/v1/query
	Query string
	Max   float64
}

// WebhookJudge is a server that says what it thinks of a change.
type WebhookJudge struct{ URL string }

// Matches says whether the Rollout is for definitions of that name.
func (r *Rollout) Matches(name string) bool { return matchesName(r.Definitions, name) }

func matchesName(globs []string, name string) bool {
	name = unslashed(name)
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := path.Match(unslashed(glob), name)
		return ok && err == nil
	})
}

// unslashed puts in place of slashes what path.Match does not treat as one. No
// name has it.
func unslashed(s string) string { return strings.ReplaceAll(s, "/", "\x00") }

// PolicyOf gives the policy of a change of definitions of these names: the
// first by name that is for any of them; nil: there is none.
func PolicyOf(rollouts []*Rollout, names []string) *Rollout {
	var first *Rollout
	for _, r := range rollouts {
		if (first == nil || r.Name < first.Name) && slices.ContainsFunc(names, r.Matches) {
			first = r
		}
	}
	return first
}

// HeldBy gives the Rollout that can't be read and may be the one for a change
// of definitions of these names, whose policy is known to be no other; nil:
// there is none, and the change need not wait.
func HeldBy(holes []*Hole, policy *Rollout, names []string) *Hole {
	for _, h := range holes {
		if policy != nil && h.Name != "" && h.Name >= policy.Name {
			continue // the policy counts before it
		}
		if h.Definitions == nil && len(names) > 0 || slices.ContainsFunc(names, func(name string) bool { return matchesName(h.Definitions, name) }) {
			return h
		}
	}
	return nil
}
