package xds

import (
	"iter"
	"time"

	"wasmxds/xds/swap"
)

// Stats are counts since the Server was created, except for Streams.
type Stats struct {
	Streams   int64 // currently open
	Moved     int64 // closed so that their Envoys connect to another replica
	Turned    int64 // clients that were rejected
	Requests  int64
	Bytes     int64            // of responses
	Responses map[string]int64 // by type: "CDS", "EDS", "SDS", "LDS", "RDS", "ECDS", "RTDS"
	NACKs     map[string]int64 // by type
}

// Stats returns the values of the metrics.
func (s *Server) Stats() Stats {
	c := &s.counters
	out := Stats{
		Streams: c.streams.Load(), Moved: c.moved.Load(), Turned: s.turned.count(), Requests: c.requests.Load(), Bytes: c.bytes.Load(),
		Responses: make(map[string]int64, swap.Types), NACKs: make(map[string]int64, swap.Types),
	}
	for t := range swap.Types {
		out.Responses[t.String()], out.NACKs[t.String()] = c.sent[t].Load(), c.refused[t].Load()
	}
	return out
}

// Swap is a step of a filter's version change on a running Envoy.
type Swap struct {
	Node string
	swap.Change
	At time.Time
}

// Swaps are the version changes in one step of an Envoy.
type Swaps struct {
	Node    string
	Changes []swap.Change
	At      time.Time
}

// All returns an iterator over the changes.
func (s Swaps) All() iter.Seq[Swap] {
	return func(yield func(Swap) bool) {
		for _, change := range s.Changes {
			if !yield(Swap{Node: s.Node, Change: change, At: s.At}) {
				return
			}
		}
	}
}

// tell reports the changes of a machine's step.
func (s *Server) tell(c *client, changes []swap.Change) {
	s.logCrashes(c.node.ID, changes)
	if s.swapped != nil && len(changes) > 0 {
		s.swapped(Swaps{Node: c.node.ID, Changes: changes, At: s.now()})
	}
}
