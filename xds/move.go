package xds

import (
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// When its connection is closed, an Envoy whose bootstrap lists several replicas connects
// to another one: it treats the one that closed the connection as failed for some seconds.
// This is how streams are moved. No Envoy is moved twice within moveAgain. If one came back
// within vainWithin, moving it was in vain, and the interval doubles each time, up to
// stayFor: all other replicas may be down, or one address stands for all of them and led
// here again.
const (
	moveAgain  = 2 * time.Minute
	vainWithin = 30 * time.Second
	stayFor    = time.Hour

	// moveAfter is how long an Envoy stays at least, because it may be about to start.
	moveAfter = 10 * time.Second

	maxMoved = 1 << 15 // the most that are remembered; no more are moved
)

// moved contains the Envoys whose streams were closed so that they connect to another
// replica. It is part of a Server, and guarded by its mu.
type moved map[string]*move // by node id

type move struct {
	at   time.Time
	vain int // consecutive moves in vain
}

// until returns when the node may be moved again.
func (m *move) until() time.Time {
	return m.at.Add(min(moveAgain<<min(m.vain, 5), stayFor))
}

// came records that a node has a stream.
func (m moved) came(id string, now time.Time) {
	switch was := m[id]; {
	case was == nil:
	case now.Sub(was.at) < vainWithin:
		was.vain++
	default:
		was.vain = 0
	}
}

// pass forgets old moves.
func (m moved) pass(now time.Time) {
	for id, was := range m {
		if now.Sub(was.at) >= 2*stayFor || was.vain == 0 && !now.Before(was.until()) {
			delete(m, id)
		}
	}
}

// spares reports whether a node was moved too recently.
func (m moved) spares(id string, now time.Time) bool {
	was := m[id]
	return was != nil && now.Before(was.until())
}

// reaches reports whether a node's bootstrap lists several replicas, by wasmxds.replicas of
// its metadata, which "xds-server bootstrap" writes.
func reaches(meta *structpb.Struct) bool {
	return meta.GetFields()["wasmxds"].GetStructValue().GetFields()["replicas"].GetNumberValue() > 1
}

// Move closes the streams of up to most Envoys that can connect to another replica, and
// returns how many it closed. It skips Envoys with anything in progress, so that each
// continues at the other replica as it was.
func (s *Server) Move(most int) int { return s.move(most, false) }

// Leave is Move for a server that terminates: it also moves Envoys that were moved
// recently.
func (s *Server) Leave(most int) int { return s.move(most, true) }

func (s *Server) move(most int, ends bool) (closed int) {
	for _, c := range s.movable(ends) {
		if closed >= most {
			break
		}
		if !s.leaves(c, ends) {
			continue
		}
		_ = c.conn.Close() // it was open, or is closed already
		closed++
	}
	s.counters.moved.Add(int64(closed))
	return closed
}

// movable returns the clients that may be moved, in no particular order.
func (s *Server) movable(ends bool) []*client {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.moved.pass(now)
	var all []*client
	for c := range s.clients {
		spared := !ends && (s.moved.spares(c.node.ID, now) || now.Sub(c.since) < moveAfter || s.sampled[c.node.ID] > 0)
		if c.elsewhere && !spared && len(s.nodes[c.node.ID].clients) == 1 {
			all = append(all, c)
		}
	}
	return all
}

// leaves records that a client is moved, unless anything of it is in progress.
func (s *Server) leaves(c *client, ends bool) bool {
	if !c.calm() {
		return false
	}
	if ends {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.moved[c.node.ID]
	if was == nil {
		if len(s.moved) >= maxMoved {
			return false
		}
		was = &move{}
		s.moved[c.node.ID] = was
	}
	was.at = s.now()
	return true
}

// calm reports whether an Envoy has everything that it should, and this server knows
// nothing about it that another replica would not know.
func (c *client) calm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream != nil && len(c.queued) == 0 && c.gets == c.wants.chosen &&
		len(c.wants.crashes) == 0 && c.machine.InPlace() && c.machine.Left().Empty()
}
