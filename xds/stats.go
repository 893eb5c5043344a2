package xds

import (
	"iter"
	"time"

	"wasmxds/xds/swap"
)

// Stats are counts since the Server was made, but for Streams.
type Stats struct {
	Streams   int64 // open now
	Moved     int64 // closed, so that their Envoys go to another server
	Turned    int64 // away: clients that got no stream
	Requests  int64
	Bytes     int64            // of responses
	Responses map[string]int64 // by type: "CDS", "EDS", "SDS", "LDS", "RDS", "ECDS", "RTDS"
	NACKs     map[string]int64 // by type
}

// Stats gives the figures behind the metrics.
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

// Swap is a step of a filter's change on a running Envoy.
type Swap struct {
	Node string
	swap.Change
	At time.Time
}

// Swaps are those that an Envoy has made at once.
type Swaps struct {
	Node    string
	Changes []swap.Change
	At      time.Time
}

// All gives each of them.
func (s Swaps) All() iter.Seq[Swap] {
	return func(yield func(Swap) bool) {
		for _, change := range s.Changes {
			if !yield(Swap{Node: s.Node, Change: change, At: s.At}) {
				return
			}
		}
	}
}

// tell tells of what a machine's step changed.
func (s *Server) tell(c *client, changes []swap.Change) {
	s.logCrashes(c.node.ID, changes)
	if s.swapped != nil && len(changes) > 0 {
		s.swapped(Swaps{Node: c.node.ID, Changes: changes, At: s.now()})
	}
}
