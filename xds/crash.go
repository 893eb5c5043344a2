package xds

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/xds/swap"
)

// alarmLasts is for how long an alarm of a node that is away is remembered: as long as
// it takes an Envoy that runs to be back. After that another server may have had it.
const alarmLasts = 30 * time.Second

// Crashed is to be told of each request that a crashed VM answered on a node, and
// of the filter as its chain names it; "": not known which. The VM is replaced. What
// is told often costs little. It is false where the node is not connected, see
// CrashedAway.
func (s *Server) Crashed(node, filter string) (here bool) {
	clients := s.clientsOf(node)
	for _, c := range clients {
		s.step(c, swap.Crash{Filter: filter})
	}
	return len(clients) > 0
}

// CrashedAway is to be told of what Crashed is where the node is connected to no server,
// as far as is known: an Envoy's log comes on connections of their own. If it was here,
// the VM is replaced when it is back.
func (s *Server) CrashedAway(node, filter string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away.nodes[node] == nil {
		return
	}
	l := s.left[node]
	l.Left, l.alarmed = l.Left.With(swap.Crash{Filter: filter}), s.now()
	s.remember(node, l)
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

// filters tells how each filter and service of c fares, also a filter that is had in
// another version as it crashes in the one that is wanted. The caller holds c.mu.
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
	of := c.services()
	if len(of) == 0 {
		return filters
	}
	filters = append(filters, of...)
	slices.SortFunc(filters, func(a, b swap.FilterStatus) int { return strings.Compare(a.Name, b.Name) })
	return filters
}

// version is the one of a filter that the Envoy is to have, where it can; "": none.
func (d decision) version(filter string) string {
	if f := d.chosen.Filter(filter); f != nil {
		return f.Version
	}
	return ""
}
