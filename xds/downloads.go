package xds

import (
	"net/netip"
	"slices"
	"sync"
	"time"

	"wasmxds/xds/swap"
)

// peer is an address that Envoys connect from, with its downloads. Usually it belongs to
// one Envoy. Behind a NAT, or on one machine, it may belong to many, and there is no way to
// tell which of them makes a download.
type peer struct {
	clients int // guarded by Server.mu

	mu      sync.Mutex
	modules map[string]*awaited // by SHA-256
}

// awaited is a module that Envoys at one address wait for, or download.
type awaited struct {
	untold, told map[*client]struct{} // clients that were not, and were, notified of a download in progress
	open, done   int                  // numbers of downloads
	again        time.Time            // earliest time at which all clients are notified again
	alone        *client              // notified of a download as its own; it waits long for the end
}

// tellEvery is the shortest interval at which all clients that wait for a module at one
// address are notified: each of them makes a download, and gains nothing from a
// notification of every one.
const tellEvery = 250 * time.Millisecond

// join and leave update the peers. The caller holds s.mu.
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

// await updates the modules that c waits for. The caller holds c.mu.
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

// module and tidy require the caller to hold p.mu.
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

// Downloaded processes the progress of a download from addr, as a module server sees it.
// This is a hint: a missing one costs time, a wrong one costs a fetch. Downloaded returns
// false if no Envoy that is connected here can have made the download.
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

// downloaded notifies c of a download that it still waits for. Another download of the same
// module may have ended meanwhile; c would then wait in vain for the end of this one.
func (s *Server) downloaded(c *client, d swap.Download) {
	c.mu.Lock()
	var changes []swap.Change
	if c.machine.Awaits(d.SHA256) {
		changes = s.stepLocked(c, d)
	}
	c.mu.Unlock()
	s.tell(c, changes)
}

// saw counts a download, and returns the clients to notify and how many clients wait. If
// several wait, the download may be any client's. They are then notified of the end when as
// many downloads have ended as there are clients.
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
	case a.alone != nil: // others have started to wait meanwhile
		tell, a.alone = append(tell, a.alone), nil
	}
	return tell, waiting
}

// begun returns the clients to notify of the beginning of a download: those that were not
// notified yet, and at intervals also the others.
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

// ended returns all clients, to be notified of the end of a download.
func (a *awaited) ended(now time.Time) []*client {
	tell := appendKeys(appendKeys(nil, a.told), a.untold)
	for c := range a.told {
		a.untold = with(a.untold, c)
	}
	clear(a.told)
	a.again = now.Add(tellEvery)
	return tell
}

// with adds c to a set, which may be nil: usually one of the two sets is empty.
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
