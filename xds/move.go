package xds

import (
	"time"

	"google.golang.org/protobuf/types/known/structpb"
)

// An Envoy whose connection is closed goes to another server, where its bootstrap knows
// several: it takes the one that closed for failed for some seconds. So streams are
// moved. It is done to no Envoy twice in moveAgain. Where one came back within
// vainWithin it was in vain, and it stays twice as long each time, up to stayFor: all
// its other servers may be down, or one address stands for all of them and led here
// again.
const (
	moveAgain  = 2 * time.Minute
	vainWithin = 30 * time.Second
	stayFor    = time.Hour

	// moveAfter is how long an Envoy stays at least, as it may be about to start.
	moveAfter = 10 * time.Second

	maxMoved = 1 << 15 // that are remembered; no others are moved
)

// moved are the Envoys whose streams were closed so that they go to another server. It
// is part of a Server, and guarded by its mu.
type moved map[string]*move // by node id

type move struct {
	at   time.Time
	vain int // how often in a row
}

// until is when the node may be moved again.
func (m *move) until() time.Time {
	return m.at.Add(min(moveAgain<<min(m.vain, 5), stayFor))
}

// came notes that a node has a stream.
func (m moved) came(id string, now time.Time) {
	switch was := m[id]; {
	case was == nil:
	case now.Sub(was.at) < vainWithin:
		was.vain++
	default:
		was.vain = 0
	}
}

// pass forgets moves of long ago.
func (m moved) pass(now time.Time) {
	for id, was := range m {
		if now.Sub(was.at) >= 2*stayFor || was.vain == 0 && !now.Before(was.until()) {
			delete(m, id)
		}
	}
}

// spares tells whether a node was moved too short a time ago.
func (m moved) spares(id string, now time.Time) bool {
	was := m[id]
	return was != nil && now.Before(was.until())
}

// reaches tells whether a node knows several servers: wasmxds.replicas of its metadata,
// which "xds-server bootstrap" writes.
func reaches(meta *structpb.Struct) bool {
	return meta.GetFields()["wasmxds"].GetStructValue().GetFields()["replicas"].GetNumberValue() > 1
}

// Move closes the streams of so many Envoys that have another server to go to, if there
// are so many, and gives their number. It takes none that has something under way, so
// that each goes on at the other server as it was.
func (s *Server) Move(most int) int { return s.move(most, false) }

// Leave is Move for a server that ends: there is no use in sparing Envoys that have
// moved before.
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

// movable are the clients, in no order, of which it may be that they are moved.
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

// leaves notes that a client is moved, if nothing of it is under way.
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

// calm tells whether an Envoy has all that it is to have, and nothing is known of it
// that another server would not know.
func (c *client) calm() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream != nil && len(c.queued) == 0 && c.gets == c.wants.chosen &&
		len(c.wants.crashes) == 0 && c.machine.InPlace() && c.machine.Left().Empty()
}
