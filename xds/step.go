package xds

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/xds/swap"
)

// flight is the newest response of a type.
type flight struct {
	nonce, proof uint32
	size         int           // bytes; 0: answered
	at           time.Duration // when it was sent, since client.since
}

// text returns the response's nonce as it is sent. The proof can't be guessed, so an answer
// proves that the response, and all earlier ones, were read.
func (f *flight) text() string {
	b := make([]byte, 0, 20)
	b = strconv.AppendUint(b, uint64(f.nonce), 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, uint64(f.proof), 16))
}

// window limits the bytes that are sent to a client and not answered, except for a single
// response that is larger. It is less than what grpc accepts without blocking (64 KiB per
// stream), so that no send waits for a client that does not read.
const window = 48 << 10

// maxNACKs is how many NACKs are kept for the status, newest last.
const maxNACKs = 8

// NACK is a response that an Envoy rejected.
type NACK struct {
	Type    string    `json:"type"` // type URL
	Message string    `json:"message"`
	At      time.Time `json:"at"`              // of the newest
	Times   int       `json:"times,omitempty"` // how often it came; 0: once
	// Fetching means only that Envoy is fetching a module.
	Fetching bool `json:"fetching,omitempty"`
}

// request passes a request to the machine. Its error ends the stream.
func (s *Server) request(c *client, r *request) error {
	s.counters.requests.Add(1)
	if r.node != nil && r.node.ID != "" && r.node.ID != c.node.ID {
		return status.Errorf(codes.InvalidArgument, "this stream is node %q, a request of it names %q", c.node.ID, r.node.ID)
	}
	if r.Type == swap.Types {
		s.log.Debug("asked for a type that is not served", "node", c.node.ID, "type", r.typeURL)
		return nil
	}
	if err := r.check(); err != nil {
		return err
	}
	r.Nonce = c.read(r.Type, r.Nonce)
	if r.Failed {
		s.counters.nacks.Add(1)
		s.counters.refused[r.Type].Add(1)
		s.log.Debug("NACK", "node", c.node.ID, "type", r.Type, "nonce", r.Nonce, "message", r.Error)
	}
	s.step(c, &r.Request)
	if r.Failed {
		c.remember(NACK{Type: r.typeURL, Message: r.Error, At: s.now()})
		s.generation.Add(1)
	}
	if s.observed != nil && r.Nonce != "" && !c.answered {
		s.answered(c)
	}
	return c.overSubscribed(r.Type)
}

// remember stores a NACK, as the machine has interpreted it.
func (c *client) remember(n NACK) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.Fetching = n.Type == swap.Extension.URL() && !c.machine.Refuses(n.Message)
	if i := slices.IndexFunc(c.nacks, func(o NACK) bool { return o.Type == n.Type && o.Message == n.Message }); i >= 0 {
		n.Times = max(c.nacks[i].Times, 1) + 1
		c.nacks = slices.Delete(c.nacks, i, i+1)
	}
	if len(c.nacks) == maxNACKs {
		c.nacks = slices.Delete(c.nacks, 0, 1)
	}
	c.nacks = append(c.nacks, n)
}

// step passes an event to the machine of c, and sends the responses.
func (s *Server) step(c *client, e swap.Event) {
	c.mu.Lock()
	changes := s.stepLocked(c, e)
	c.mu.Unlock()
	s.tell(c, changes)
}

// stepLocked is step for a caller that holds c.mu. The caller must pass the changes to tell
// after it has released c.mu.
func (s *Server) stepLocked(c *client, e swap.Event) []swap.Change {
	if c.stream == nil {
		return nil
	}
	now := s.now()
	ready := c.machine.Step(now, e)
	changes, refused := ready.Changes, ready.Refused
	c.queued = append(c.queued, ready.Sends...)
	if snap := s.decide(c, ready, now); snap != nil {
		ready = c.machine.Step(now, swap.Publish{Snapshot: snap})
		changes, refused = append(changes, ready.Changes...), append(refused, ready.Refused...)
		c.queued = append(c.queued, ready.Sends...)
	}
	s.observeStep(c, refused)
	s.flush(c, now)
	c.await(c.machine.Awaited())
	s.wakeLater(c, now)
	s.generation.Add(1)
	return changes
}

// wakeLater sees that c is woken when its machine is due. The caller holds c.mu.
func (s *Server) wakeLater(c *client, now time.Time) {
	if due := c.machine.Wake(); !due.IsZero() && (c.due.IsZero() || due.Before(c.due) || !c.due.After(now)) {
		c.due = due
		s.timers.add(c, due)
	}
}

// woken passes the time to the machine of c if that is due: what it was to be woken for has
// often happened before, and something later is due.
func (s *Server) woken(c *client) {
	c.mu.Lock()
	var changes []swap.Change
	switch now := s.now(); {
	case c.stream == nil:
	case c.wants.falls || c.machine.Due(now):
		changes = s.stepLocked(c, swap.Tick{})
	default:
		s.wakeLater(c, now)
	}
	c.mu.Unlock()
	s.tell(c, changes)
}

// flush sends what the client's window allows. The caller holds c.mu.
func (s *Server) flush(c *client, now time.Time) {
	for len(c.queued) > 0 {
		out := 0
		for i := range c.flights {
			out += c.flights[i].size
		}
		send := c.queued[0]
		size := len(send.Body())
		if out > 0 && out+size > window {
			return
		}
		c.queued = c.queued[1:]
		f := &c.flights[send.Type]
		*f = flight{nonce: send.Nonce, proof: rand.Uint32(), size: size, at: now.Sub(c.since)}
		if err := c.stream.Send(send.Body(), nonceField(f.text())); err != nil {
			c.queued = nil
			return
		}
		s.counters.pushes.Add(1)
		s.counters.bytes.Add(int64(size))
		s.counters.sent[send.Type].Add(1)
	}
	c.queued = nil
}

// read processes the nonce of a request, which proves that the response was read. It
// returns the nonce as the machine knows it, or "" if it is not the newest.
func (c *client) read(t swap.Type, text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := &c.flights[t]
	if text == "" || text != f.text() {
		return ""
	}
	f.size = 0
	return swap.FormatNonce(f.nonce)
}

// asked returns the names of a type that the Envoy last subscribed to, in their original
// order; ok is false if there are none.
func (c *client) asked(t swap.Type) (names []string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Asked(t)
}

// silent reports whether a response has been without an answer for too long, and its type.
func (c *client) silent(now time.Time) (swap.Type, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range swap.Types {
		if f := &c.flights[t]; f.size > 0 && now.Sub(c.since)-f.at >= answerLimit {
			return t, true
		}
	}
	return 0, false
}
