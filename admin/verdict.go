package admin

import (
	"fmt"

	"wasmxds/xds/swap"
)

// level is the severity of a finding.
type level string

const (
	levelGood level = "good"
	levelNote level = "info" // no action is required
	levelBusy level = "busy" // in progress
	levelWarn level = "warn"
	levelBad  level = "bad"
)

// rank returns a number that increases with severity.
func (l level) rank() int {
	switch l {
	case levelBad:
		return 4
	case levelWarn:
		return 3
	case levelBusy:
		return 2
	case levelNote:
		return 1
	}
	return 0
}

// levelOf returns the level of a state.
func levelOf(s swap.State) level {
	switch s {
	case swap.Failed:
		return levelBad
	case crashed, swap.Away:
		return levelWarn
	case swap.Fetching, swap.Waiting:
		return levelBusy
	case swap.Running, swap.Unplaced:
		return levelGood
	}
	return levelNote
}

// verdict is a summary in one sentence.
type verdict struct {
	Level level
	Text  string
}

// verdict summarizes the state of the fleet from the findings, the worst of
// which is the first.
func (s *Server) verdict(o *overview, found []finding) verdict {
	switch {
	case s.draining.Load():
		return verdict{levelWarn, "This xds-server is shutting down"}
	case !s.ready():
		return verdict{levelBusy, "Starting: the definitions are not loaded yet"}
	}
	n := 0 // number of findings that require action
	for _, f := range found {
		if f.Level.rank() >= levelWarn.rank() {
			n++
		}
	}
	switch {
	case n == 1:
		return verdict{found[0].Level, found[0].Title}
	case n > 1:
		return verdict{found[0].Level, fmt.Sprintf("%s, and %s", found[0].Title, plural(n-1, "more problem"))}
	case o.Envoys == 0:
		return verdict{levelNote, "No Envoy is connected"}
	case o.Good < o.Envoys:
		return verdict{levelBusy, fmt.Sprintf("Updating · %d of %s up to date", o.Good, plural(o.Envoys, "Envoy"))}
	}
	return verdict{levelGood, "Healthy · " + plural(o.Envoys, "Envoy")}
}
