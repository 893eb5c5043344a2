package xds

import (
	"slices"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// Sampling returns the rate last set by Sample for a node.
func (s *Server) Sampling(node string) (rate uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sampled[node]
}

// Sample makes the Envoys of a node report perMillion of a million requests, chosen at
// random, until the next call, and whenever they connect; 0: none. It returns the rate that
// is used, the next lower one of a small number of possible rates.
func (s *Server) Sample(node string, perMillion uint32) (rate uint32) {
	rate = resource.SamplingRate(perMillion)
	s.mu.Lock()
	if rate == 0 {
		delete(s.sampled, node)
	} else {
		s.sampled[node] = rate
	}
	s.mu.Unlock()
	for _, c := range s.clientsOf(node) { // one that connects meanwhile already has the rate
		s.step(c, swap.Sample{PerMillion: rate})
	}
	return rate
}

// clientsOf returns the streams of a node.
func (s *Server) clientsOf(node string) []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec := s.nodes[node]; rec != nil {
		return slices.Clone(rec.clients)
	}
	return nil
}

// CannotSample reports whether an Envoy of a node is connected to this server and does not
// subscribe to the runtime layer that has it report requests.
func (s *Server) CannotSample(node string) bool {
	for _, c := range s.clientsOf(node) {
		c.mu.Lock()
		unable := c.stream != nil && !c.machine.CanSample()
		c.mu.Unlock()
		if unable {
			return true
		}
	}
	return false
}
