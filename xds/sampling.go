package xds

import (
	"slices"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// Sampling is the rate that the Envoys of a node are told, as Sample gave it.
func (s *Server) Sampling(node string) (rate uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sampled[node]
}

// Sample has the Envoys of a node tell of so many of a million requests, chosen at
// random, until it says otherwise, and whenever they connect; 0: of none. It gives
// the rate that they are told, which is not above the one that was asked for:
// there are few.
func (s *Server) Sample(node string, perMillion uint32) (rate uint32) {
	rate = resource.SamplingRate(perMillion)
	s.mu.Lock()
	if rate == 0 {
		delete(s.sampled, node)
	} else {
		s.sampled[node] = rate
	}
	s.mu.Unlock()
	for _, c := range s.clientsOf(node) { // one that connects meanwhile knows already
		s.step(c, swap.Sample{PerMillion: rate})
	}
	return rate
}

// clientsOf are the streams of a node.
func (s *Server) clientsOf(node string) []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec := s.nodes[node]; rec != nil {
		return slices.Clone(rec.clients)
	}
	return nil
}
