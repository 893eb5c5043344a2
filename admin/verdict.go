package admin

import (
	"fmt"

	"wasmxds/xds/swap"
)

// level is how much something matters.
type level string

const (
	levelGood level = "good"
	levelNote level = "info" // nothing is to be done
	levelBusy level = "busy" // it is under way
	levelWarn level = "warn"
	levelBad  level = "bad"
)

// rank is higher the more a level matters.
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

// levelOf is that of something in a state.
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

// verdict is the one sentence that somebody in a hurry reads.
type verdict struct {
	Level level
	Text  string
}

// verdict says how the fleet is, by the findings, the worst of which is the first.
func (s *Server) verdict(o *overview, found []finding) verdict {
	switch {
	case s.draining.Load():
		return verdict{levelWarn, "This xds-server is shutting down"}
	case !s.ready():
		return verdict{levelBusy, "Starting: the definitions are not loaded yet"}
	}
	n := 0 // that something is to be done about
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
