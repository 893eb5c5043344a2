package xds

import (
	"time"

	"wasmxds/xds/swap"
)

// Stats are counts since the Server was made, but for Streams.
type Stats struct {
	Streams   int64 // open now
	Requests  int64
	Bytes     int64            // of responses
	Responses map[string]int64 // by type: "CDS", "EDS", "SDS", "LDS", "RDS", "ECDS"
	NACKs     map[string]int64 // by type
}

// Stats gives the figures behind the metrics.
func (s *Server) Stats() Stats {
	c := &s.counters
	out := Stats{
		Streams: c.streams.Load(), Requests: c.requests.Load(), Bytes: c.bytes.Load(),
		Responses: make(map[string]int64, swap.Types), NACKs: make(map[string]int64, swap.Types),
	}
	for t := range swap.Types {
		out.Responses[t.String()], out.NACKs[t.String()] = c.sent[t].Load(), c.refused[t].Load()
	}
	return out
}

// Swap is a filter's change on a running Envoy, seen by its ACK.
type Swap struct {
	Node, Filter string
	From, To     string // versions
	At           time.Time
}

// observed hands a request to the machine, and tells of the swaps it ends.
func (s *Server) observed(c *client, r *request) {
	if s.swapped == nil || r.Type != swap.Extension || r.Failed || r.Nonce == "" {
		s.step(c, r.Request)
		return
	}
	var swaps []Swap
	now := s.now()
	c.mu.Lock()
	before := c.machine.Runs()
	s.stepLocked(c, r.Request)
	c.machine.Swapped(before, func(filter, from, to string) {
		swaps = append(swaps, Swap{Node: c.node.ID, Filter: filter, From: from, To: to, At: now})
	})
	c.mu.Unlock()
	for _, swap := range swaps {
		s.swapped(swap)
	}
}
