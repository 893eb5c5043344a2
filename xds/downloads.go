package xds

import (
	"net/netip"

	"wasmxds/xds/swap"
)

// peer is an address that Envoys connect from, with its downloads. Mostly it
// is one Envoy's; behind a NAT, or on one machine, it may be many's, and which
// of them a download belongs to can't be told.
type peer struct {
	clients   map[*client]struct{}
	downloads map[string]*download // by SHA-256
}

type download struct {
	open, done int
}

// join and leave keep the peers. The caller holds s.mu.
func (s *Server) join(c *client) {
	p := s.peers[c.addr.Addr()]
	if p == nil {
		p = &peer{clients: map[*client]struct{}{}}
		s.peers[c.addr.Addr()] = p
	}
	p.clients[c] = struct{}{}
}

func (s *Server) leave(c *client) {
	p := s.peers[c.addr.Addr()]
	delete(p.clients, c)
	if len(p.clients) == 0 {
		delete(s.peers, c.addr.Addr())
	}
}

// Downloaded tells what the module server saw of a download from addr. It is
// a hint: one that is missed costs time, one that is wrong costs a fetch.
func (s *Server) Downloaded(addr netip.Addr, d swap.Download) {
	waiting, all := s.awaiting(addr.Unmap(), d)
	if len(waiting) > 1 {
		d.Shared = true
		if !all {
			return
		}
	}
	for _, c := range waiting {
		s.downloaded(c, d)
	}
}

// downloaded tells c of a download that it still waits for: another one of the
// same module may have ended meanwhile, and then the beginning of this one
// would be waited for in vain.
func (s *Server) downloaded(c *client, d swap.Download) {
	c.mu.Lock()
	var changes []swap.Change
	if c.machine.Awaits(d.SHA256) {
		changes = s.stepLocked(c, d)
	}
	c.mu.Unlock()
	s.tell(c, changes)
}

// awaiting finds the clients at addr that wait for a module, and tells whether
// as many downloads of it have ended.
func (s *Server) awaiting(addr netip.Addr, d swap.Download) (waiting []*client, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[addr]
	if p == nil {
		return nil, false
	}
	for c := range p.clients {
		c.mu.Lock()
		if c.machine.Awaits(d.SHA256) {
			waiting = append(waiting, c)
		}
		c.mu.Unlock()
	}
	if p.downloads == nil {
		p.downloads = map[string]*download{}
	}
	dl := p.downloads[d.SHA256]
	if dl == nil {
		dl = &download{}
		p.downloads[d.SHA256] = dl
	}
	switch d.Progress {
	case swap.DownloadStarted:
		dl.open++
		return waiting, true
	case swap.DownloadDone:
		dl.done++
	}
	dl.open--
	all = dl.open <= 0 && (dl.done >= len(waiting) || d.Progress == swap.DownloadAborted)
	if dl.open <= 0 && all {
		delete(p.downloads, d.SHA256)
	}
	return waiting, all
}
