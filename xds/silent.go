package xds

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The keepalive pings of grpc find Envoys that are gone. An Envoy that answers pings, but
// does not read its stream or sends nothing on it, is found here.
const (
	answerLimit = 2 * time.Minute // from a response to its ACK or NACK
	lookEvery   = time.Second
)

var errEnding = status.Error(codes.Unavailable, "xds-server is ending")

// everySecond cuts the connections of Envoys that do not answer, and of logs that are
// silent, forgets Envoys that do not come back, and updates the generation when others are
// drained, until ctx ends.
func (s *Server) everySecond(ctx context.Context) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.cutSilent(s.now())
			s.cutQuiet(s.now())
			s.forget(s.now())
			drained, forgot := s.drained.pass(s.now()), s.turned.pass(s.now())
			if drained || forgot {
				s.generation.Add(1)
			}
		}
	}
}

// cutSilent cuts the whole connection: nothing else ends a handler that waits for a
// request, and an Envoy has a connection to itself.
func (s *Server) cutSilent(now time.Time) {
	for _, c := range s.all() {
		if t, ok := c.silent(now); ok {
			s.log.Warn("Envoy does not answer: its connection is cut", "node", c.node.ID, "peer", c.addr, "type", t, "for", answerLimit)
			c.conn.Cut()
		}
	}
}

// forget processes the passing of time for nodes that are away.
func (s *Server) forget(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away.pass(now) {
		s.generation.Add(1)
	}
}

// all returns the current clients.
func (s *Server) all() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*client, 0, len(s.clients))
	for c := range s.clients {
		all = append(all, c)
	}
	return all
}

// end ends all streams, and rejects new ones.
func (s *Server) end() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.health.Shutdown()
	close(s.ending)
	s.mu.Unlock()
	s.logs.end()
	for _, c := range s.all() {
		_ = c.conn.Close() // it was open, or is closed already
	}
}
