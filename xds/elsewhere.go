package xds

// Connected returns those of ids that have a stream.
func (s *Server) Connected(ids []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var there []string
	for _, id := range ids {
		if s.nodes[id] != nil {
			there = append(there, id)
		}
	}
	return there
}

// Elsewhere records nodes that have a stream to another replica: they are not away.
func (s *Server) Elsewhere(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if s.away.nodes[id] != nil {
			s.away.forget(id)
			s.generation.Add(1)
		}
	}
}
