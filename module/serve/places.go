package serve

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"
)

// places limits concurrent downloads. Waiting downloads get a place by peer:
// the peer with the fewest places is next. While any download waits, those that
// their clients hardly read, and those beyond the share of a peer, are set
// aside: they continue without a place. The number of those is limited as well;
// beyond the limit, the worst is cut off.
type places struct {
	limit, asides int

	mu      sync.Mutex
	held    map[*place]struct{}
	aside   map[*place]struct{}
	peers   map[netip.Prefix]*peer
	line    *list.List // peers with waiting downloads
	waiting int
	looking bool
}

// peer is an address that downloads come from; for IPv6, a /64.
type peer struct {
	address netip.Prefix
	held    int
	aside   int
	waiting list.List // of *place
	at      *list.Element
}

// place is a download that waits, has a place, or is set aside.
type place struct {
	peer   *peer
	turn   chan struct{} // closed when it gets a place
	taken  func() int64  // number of bytes that the client has received; monotonic
	cut    func()
	waits  *list.Element
	begun  time.Time // when it got its place
	looked time.Time
	seen   int64 // value of taken at looked
	moved  time.Time
}

const (
	lookEvery  = 25 * time.Millisecond
	lookAfter  = 50 * time.Millisecond  // minimum age of a download before it is checked
	leastRate  = 256 << 10              // bytes per second; a download below is set aside while others wait
	leastOfAll = 16 << 10               // bytes per second; a download that is set aside and is below may be cut off
	patience   = 250 * time.Millisecond // with a download that is set aside and receives nothing
)

func newPlaces(limit int) *places {
	return &places{
		limit: limit, asides: 4 * limit,
		held: map[*place]struct{}{}, aside: map[*place]struct{}{}, peers: map[netip.Prefix]*peer{}, line: list.New(),
	}
}

// peerOf returns the peer that a connection is counted for.
func peerOf(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr := at.Addr().Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // bits are valid
	return p
}

// enter returns the place of a new download, which it has at once or must wait
// for.
func (s *places) enter(address netip.Prefix, taken func() int64, cut func()) (p *place, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.peers[address]
	if of == nil {
		of = &peer{address: address}
		s.peers[address] = of
	}
	p = &place{peer: of, turn: make(chan struct{}), taken: taken, cut: cut}
	if s.waiting == 0 && len(s.held) < s.limit {
		s.give(p)
		return p, true
	}
	p.waits = of.waiting.PushBack(p)
	if of.at == nil {
		of.at = s.line.PushBack(of)
	}
	s.waiting++
	if !s.looking {
		s.looking = true
		time.AfterFunc(lookEvery, s.look)
	}
	return p, false
}

// wait waits for the place. It returns false if ctx ends first.
func (p *place) wait(ctx context.Context) bool {
	select {
	case <-p.turn:
		return true
	case <-ctx.Done():
		return false
	}
}

func (s *places) give(p *place) {
	p.begun = time.Now()
	p.looked, p.moved, p.seen = p.begun, p.begun, p.taken()
	p.peer.held++
	s.held[p] = struct{}{}
	close(p.turn)
}

// leave ends a download in any state.
func (s *places) leave(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.waits != nil {
		s.unqueue(p)
	}
	s.drop(p)
	if of := p.peer; of.held == 0 && of.aside == 0 && of.waiting.Len() == 0 {
		delete(s.peers, of.address)
	}
	s.fill()
}

func (s *places) drop(p *place) {
	if _, ok := s.held[p]; ok {
		delete(s.held, p)
		p.peer.held--
	}
	if _, ok := s.aside[p]; ok {
		delete(s.aside, p)
		p.peer.aside--
	}
}

func (s *places) unqueue(p *place) {
	p.peer.waiting.Remove(p.waits)
	p.waits = nil
	s.waiting--
	if p.peer.waiting.Len() == 0 {
		s.line.Remove(p.peer.at)
		p.peer.at = nil
	}
}

// fill gives free places to waiting downloads.
func (s *places) fill() {
	for s.waiting > 0 && len(s.held) < s.limit {
		of := s.neediest()
		p := of.waiting.Front().Value.(*place)
		s.line.MoveToBack(of.at)
		s.unqueue(p)
		s.give(p)
	}
}

// neediest returns the waiting peer with the fewest places. At most limit peers
// have any, so the search is short.
func (s *places) neediest() *peer {
	var least *peer
	for e := s.line.Front(); e != nil; e = e.Next() {
		if of := e.Value.(*peer); least == nil || of.held < least.held {
			if least = of; of.held == 0 {
				break
			}
		}
	}
	return least
}

// look frees places while any download waits.
func (s *places) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for p := range s.held {
		if s.waiting <= s.limit-len(s.held) {
			break
		}
		if p.slow(now) {
			s.setAside(p, now)
		}
	}
	s.fill()
	for s.waiting > 0 {
		if least, most := s.neediest(), s.greediest(); most == nil || most.held <= least.held+1 || !s.setAside(s.slowestOf(most, now), now) {
			break
		}
		s.fill()
	}
	if s.looking = s.waiting > 0; s.looking {
		time.AfterFunc(lookEvery, s.look)
	}
}

// slow reports whether the client has received less than it should since the
// last check.
func (p *place) slow(now time.Time) bool {
	since := now.Sub(p.looked)
	if since < lookAfter {
		return false
	}
	taken := p.taken()
	got := taken - p.seen
	if got > 0 {
		p.moved = now
	}
	p.looked, p.seen = now, taken
	return float64(got) < leastRate*since.Seconds()
}

func (s *places) greediest() *peer {
	var most *peer
	for p := range s.held {
		if most == nil || p.peer.held > most.held {
			most = p.peer
		}
	}
	return most
}

func (s *places) slowestOf(of *peer, now time.Time) *place {
	var slowest *place
	for p := range s.held {
		if p.peer == of && (slowest == nil || p.rate(now) < slowest.rate(now)) {
			slowest = p
		}
	}
	return slowest
}

// rate returns the average rate since the start in bytes per second.
func (p *place) rate(now time.Time) float64 {
	return float64(p.taken()) / max(now.Sub(p.begun).Seconds(), 1e-3)
}

// setAside takes a place from a download. It returns false if too many are set
// aside, and none of those may be cut off.
func (s *places) setAside(p *place, now time.Time) bool {
	if len(s.aside) >= s.asides {
		worst := s.worst(p.peer, now)
		if worst == nil {
			return false
		}
		s.drop(worst)
		worst.cut()
	}
	s.drop(p)
	s.aside[p] = struct{}{}
	p.peer.aside++
	return true
}

// worst returns the download to cut off: that of the peer with the most
// downloads set aside which has received nothing for longest. A download that
// makes progress is cut off only if its peer has more downloads set aside than
// the peer that needs the room.
func (s *places) worst(needs *peer, now time.Time) *place {
	var worst *place
	for p := range s.aside {
		if p.slow(now); worst == nil || p.peer.aside > worst.peer.aside || p.peer == worst.peer && p.moved.Before(worst.moved) {
			worst = p
		}
	}
	if worst == nil || now.Sub(worst.moved) > patience || worst.rate(now) < leastOfAll && now.Sub(worst.begun) > time.Second || worst.peer.aside > needs.aside+1 {
		return worst
	}
	return nil
}
