package xds

import (
	"fmt"
	"slices"
	"time"

	"wasmxds/xds/swap"
)

// Crashed is to be told of each request that a crashed VM answered on a node, and
// of the filter as its chain names it; "": not known which. The VM is replaced. What
// is told often costs little.
func (s *Server) Crashed(node, filter string) {
	e := swap.Crash{Filter: filter}
	s.mu.Lock()
	var clients []*client
	if rec := s.nodes[node]; rec != nil {
		clients = slices.Clone(rec.clients)
	} else if s.away.nodes[node] != nil { // its log comes on connections of their own
		l := s.left[node]
		l.Left = l.Left.With(e)
		s.remember(node, l)
	}
	s.mu.Unlock()
	for _, c := range clients {
		s.step(c, e)
	}
}

// logCrashes logs what has crashed and was replaced.
func (s *Server) logCrashes(node string, changes []swap.Change) {
	for _, change := range changes {
		switch change.Stage {
		case swap.ChangeCrashed:
			s.log.Warn("a VM has crashed and is replaced", "node", node, "filter", change.Filter, "version", change.From)
		case swap.ChangeReplaced:
			s.log.Info("a crashed VM was replaced", "node", node, "filter", change.Filter, "version", change.From)
		}
	}
}

// filters tells how each filter of c fares, also one that is had in another version
// as it crashes in the one that is wanted. The caller holds c.mu.
func (c *client) filters(now time.Time) []swap.FilterStatus {
	filters := c.machine.Filters(now)
	for i := range filters {
		f := &filters[i]
		if f.Crashes == nil && len(c.wants.crashes) == 0 {
			continue
		}
		wanted := c.wants.version(f.Name)
		if f.Crashes != nil && f.Crashes.Version != wanted && f.Crashes.Version != f.Running {
			f.Crashes = nil // of what it was to have before
		}
		if f.Wanted == wanted || !slices.Contains(c.wants.crashes, wanted) {
			continue
		}
		f.Wanted = wanted
		if f.Crashes != nil {
			f.Crashes.WentBack = f.Crashes.Version == wanted
		}
		if f.State == swap.Running {
			f.State = swap.Failed
			f.Reason = fmt.Sprintf("its VM crashed too often on this Envoy, which has %s until another version is wanted", f.Running)
		}
	}
	return filters
}

// version is the one of a filter that the Envoy is to have, where it can; "": none.
func (d decision) version(filter string) string {
	if f := d.chosen.Filter(filter); f != nil {
		return f.Version
	}
	return ""
}
