package xds

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// TurnedAway is a client that was refused a stream, or could not begin one. It is part of
// the status document.
type TurnedAway struct {
	Node   string    `json:"node,omitempty"` // as it names itself; "": the connection failed before that
	Peer   string    `json:"peer"`           // address and port of its last connection
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
	Last   time.Time `json:"last"`
	Times  int       `json:"times"`
}

// Clients that were turned away are remembered for turnedAwayFor after the last time, and
// at most the newest maxTurnedAway of them.
const (
	turnedAwayFor = time.Hour
	maxTurnedAway = 100
)

// Each of them is logged once per logPeriod, and at most maxLogged of them.
const (
	logPeriod = time.Minute
	maxLogged = 100
)

// turnedAway stores and logs clients that were turned away.
type turnedAway struct {
	log *slog.Logger

	mu      sync.Mutex
	clients []TurnedAway // by Last, oldest first
	total   int64

	since  time.Time // start of the current log period
	logged map[TurnedAway]bool
	more   int
}

// add adds a client. message is used for the log.
func (a *turnedAway) add(now time.Time, message, node, peer string, reason error) {
	c := TurnedAway{Node: node[:min(len(node), maxNodeID)], Reason: reason.Error(), Peer: peer, Since: now, Last: now, Times: 1}
	c.Reason = c.Reason[:min(len(c.Reason), maxLength)]
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total++
	a.write(c, message)
	a.clients = recent(a.clients, now)
	same := func(o TurnedAway) bool { return o.Node == c.Node && o.Reason == c.Reason }
	if i := slices.IndexFunc(a.clients, same); i >= 0 {
		c.Since, c.Times = a.clients[i].Since, a.clients[i].Times+1
		a.clients = slices.Delete(a.clients, i, i+1)
	}
	a.clients = append(a.clients[max(0, len(a.clients)+1-maxTurnedAway):], c)
}

// write logs c. Clients retry, so each is logged once per period.
func (a *turnedAway) write(c TurnedAway, message string) {
	if d := c.Last.Sub(a.since); a.logged == nil || d >= logPeriod || d < 0 {
		if a.more > 0 {
			a.log.Warn("refused more nodes, and some again", "times", a.more)
		}
		a.since, a.logged, a.more = c.Last, map[TurnedAway]bool{}, 0
	}
	key := TurnedAway{Node: c.Node, Reason: c.Reason}
	if a.logged[key] || len(a.logged) >= maxLogged {
		a.more++
		return
	}
	a.logged[key] = true
	if c.Node != "" {
		a.log.Warn(message, "node", c.Node, "peer", c.Peer, "reason", c.Reason)
	} else {
		a.log.Warn(message, "peer", c.Peer, "reason", c.Reason)
	}
}

// pass forgets clients, and reports whether there were any to forget.
func (a *turnedAway) pass(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	had := len(a.clients)
	a.clients = recent(a.clients, now)
	return len(a.clients) < had
}

func recent(all []TurnedAway, now time.Time) []TurnedAway {
	return slices.DeleteFunc(all, func(c TurnedAway) bool { return now.Sub(c.Last) >= turnedAwayFor })
}

// TurnedAway returns the clients that were turned away within the last hour, at most 100,
// newest first.
func (s *Server) TurnedAway() []TurnedAway {
	s.turned.mu.Lock()
	defer s.turned.mu.Unlock()
	all := recent(slices.Clone(s.turned.clients), s.now())
	slices.Reverse(all)
	return all
}

// HandshakeFailed records a client that failed before it could begin a stream. It is logged
// like the others.
func (s *Server) HandshakeFailed(peer string, reason error) {
	s.turn("TLS handshake failed", "", peer, reason)
}

func (s *Server) turn(message, node, peer string, reason error) {
	s.turned.add(s.now(), message, node, peer, reason)
	s.generation.Add(1)
}

func (a *turnedAway) count() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
