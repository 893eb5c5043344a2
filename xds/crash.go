package xds

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wasmxds/xds/swap"
)

// alarmLasts is how long an alarm of a node that is away is remembered: as long as a
// running Envoy takes to reconnect. After that, another replica may have processed it.
const alarmLasts = 30 * time.Second

// Crashed must be called for each request that a crashed VM answered on a node. filter is
// its name in the chain; "": unknown. The VM is then replaced. Repeated calls are cheap.
// Crashed returns false if the node is not connected; see CrashedAway.
func (s *Server) Crashed(node, filter string) (here bool) {
	clients := s.clientsOf(node)
	for _, c := range clients {
		s.step(c, swap.Crash{Filter: filter})
	}
	return len(clients) > 0
}

// CrashedAway must be called instead of Crashed if the node is not known to be connected to
// any replica: an Envoy sends access logs on separate connections. If it was connected
// here, the VM is replaced when it reconnects.
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

// logCrashes logs which VMs have crashed and were replaced.
func (s *Server) logCrashes(node string, changes []swap.Change) {
	for _, change := range changes {
		switch change.Stage {
		case swap.ChangeCrashed:
			if change.Unsure {
				s.log.Warn("a VM has crashed, of an unknown filter: all are replaced", "node", node, "changed last", change.Filter, "version", change.From)
				continue
			}
			s.log.Warn("a VM has crashed and is replaced", "node", node, "filter", change.Filter, "version", change.From)
		case swap.ChangeReplaced:
			s.log.Info("a crashed VM was replaced", "node", node, "filter", change.Filter, "version", change.From)
		}
	}
}

// filters returns the status of each filter and service of c, including filters that run in
// another version because they crash in the current one. The caller holds c.mu.
func (c *client) filters(now time.Time) []swap.FilterStatus {
	filters := c.machine.Filters(now)
	for i := range filters {
		f := &filters[i]
		if f.Crashes == nil && len(c.wants.crashes) == 0 {
			continue
		}
		wanted := c.wants.version(f.Name)
		if f.Crashes != nil && f.Crashes.Version != wanted && f.Crashes.Version != f.Running {
			f.Crashes = nil // belongs to a version that is no longer current
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

// version returns the current version of a filter for the Envoy; "": none.
func (d decision) version(filter string) string {
	if f := d.chosen.Filter(filter); f != nil {
		return f.Version
	}
	return ""
}
