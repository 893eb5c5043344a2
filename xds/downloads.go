package xds

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"wasmxds/xds/swap"
)

// peer is an address that Envoys connect from, with its downloads. Mostly it
// is one Envoy's; behind a NAT, or on one machine, it may be many's, and which
// of them a download belongs to can't be told.
type peer struct {
	clients int // of Server.mu

	mu      sync.Mutex
	modules map[string]*awaited // by SHA-256
}

// awaited is a module that Envoys of one address wait for, or download.
type awaited struct {
	untold, told map[*client]struct{} // of a download that is under way
	open, done   int                  // downloads
	again        time.Time            // when all are told anew at the earliest
	alone        *client              // told of a beginning as its own: it waits long for the end
}

// tellEvery bounds how often all who wait for a module behind one address are
// told of a download: each of them makes one, and is no wiser by being told of
// each.
const tellEvery = 250 * time.Millisecond

// join and leave keep the peers. The caller holds s.mu.
func (s *Server) join(c *client) {
	p := s.peers[c.addr.Addr()]
	if p == nil {
		p = &peer{modules: map[string]*awaited{}}
		s.peers[c.addr.Addr()] = p
	}
	p.clients++
	c.peer = p
}

func (s *Server) leave(c *client) {
	if c.peer.clients--; c.peer.clients == 0 {
		delete(s.peers, c.addr.Addr())
	}
}

// await notes which modules c waits for. The caller holds c.mu.
func (c *client) await(modules []string) {
	if slices.Equal(modules, c.awaits) {
		return
	}
	p := c.peer
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, sha256 := range c.awaits {
		if !slices.Contains(modules, sha256) {
			a := p.module(sha256)
			delete(a.untold, c)
			delete(a.told, c)
			if a.alone == c {
				a.alone = nil
			}
			p.tidy(sha256)
		}
	}
	for _, sha256 := range modules {
		if !slices.Contains(c.awaits, sha256) {
			a := p.module(sha256)
			a.untold = with(a.untold, c)
		}
	}
	c.awaits = modules
}

// module and tidy are for callers that hold p.mu.
func (p *peer) module(sha256 string) *awaited {
	a := p.modules[sha256]
	if a == nil {
		a = &awaited{}
		p.modules[sha256] = a
	}
	return a
}

func (p *peer) tidy(sha256 string) {
	if a := p.modules[sha256]; a != nil && a.open <= 0 && len(a.untold)+len(a.told) == 0 {
		delete(p.modules, sha256)
	}
}

// Downloaded tells what a module server saw of a download from addr. It is
// a hint: one that is missed costs time, one that is wrong costs a fetch. It is false
// where no Envoy that is connected here can have made it.
func (s *Server) Downloaded(addr netip.Addr, d swap.Download) (ours bool) {
	s.mu.Lock()
	p := s.peers[addr.Unmap()]
	s.mu.Unlock()
	if p == nil {
		return false
	}
	tell, waiting := p.saw(d, s.now())
	d.Shared = waiting > 1
	for _, c := range tell {
		s.downloaded(c, d)
	}
	return waiting > 0
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

// saw counts a download, and gives the clients that are to be told of it, and how many
// wait: where they are several, it may be any of them. Of ends they are told when as
// many have ended as there are clients.
func (p *peer) saw(d swap.Download, now time.Time) (tell []*client, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tidy(d.SHA256)
	a := p.module(d.SHA256)
	waiting = len(a.untold) + len(a.told)
	shared := waiting > 1
	switch d.Progress {
	case swap.DownloadStarted:
		a.open++
		tell = a.begun(now)
		if !shared && len(tell) == 1 {
			a.alone = tell[0]
		}
		return tell, waiting
	case swap.DownloadDone:
		a.done++
	}
	a.open--
	all := a.open <= 0 && (a.done >= waiting || d.Progress == swap.DownloadAborted)
	if all {
		a.open, a.done = 0, 0
	}
	switch {
	case !shared, all && d.Progress == swap.DownloadDone, all && !now.Before(a.again):
		a.alone = nil
		return a.ended(now), waiting
	case a.alone != nil: // others have begun to wait meanwhile
		tell, a.alone = append(tell, a.alone), nil
	}
	return tell, waiting
}

// begun gives who is to be told of a beginning: who was not, and now and then
// the others.
func (a *awaited) begun(now time.Time) []*client {
	var tell []*client
	if !now.Before(a.again) {
		a.again = now.Add(tellEvery)
		tell = appendKeys(tell, a.told)
	}
	tell = appendKeys(tell, a.untold)
	for c := range a.untold {
		a.told = with(a.told, c)
	}
	clear(a.untold)
	return tell
}

// ended gives all, to be told of an end.
func (a *awaited) ended(now time.Time) []*client {
	tell := appendKeys(appendKeys(nil, a.told), a.untold)
	for c := range a.told {
		a.untold = with(a.untold, c)
	}
	clear(a.told)
	a.again = now.Add(tellEvery)
	return tell
}

// with adds c to a set, which may be nil: mostly one of the two is empty.
func with(set map[*client]struct{}, c *client) map[*client]struct{} {
	if set == nil {
		set = map[*client]struct{}{}
	}
	set[c] = struct{}{}
	return set
}

func appendKeys(to []*client, from map[*client]struct{}) []*client {
	for c := range from {
		to = append(to, c)
	}
	return to
}
