package module

import (
	"context"
	"io/fs"
	"time"
)

// Peers are other servers of the same state. They may have a module whose
// origin is unavailable, or is a file on their machine.
type Peers interface {
	// Get ensures that a module is in the Store. If no server has it, the error
	// is [fs.ErrNotExist].
	Get(ctx context.Context, sha256 string) error
}

const (
	peersAtOnce  = 4           // number of modules that are fetched concurrently because they are needed
	lastPeerWait = time.Minute // maximum interval between attempts to get one of them
)

// fromPeers gets a module with a known hash from another server.
func (l *resolution) fromPeers(ctx context.Context, sha256 string) (Info, error) {
	if l.Peers == nil || sha256 == "" {
		return Info{}, fs.ErrNotExist
	}
	if err := l.Peers.Get(ctx, sha256); err != nil {
		return Info{}, err
	}
	return l.Store.Stat(sha256)
}

// lacking is a module that is needed and missing.
type lacking struct {
	under bool // it is being fetched
	wait  time.Duration
	next  time.Time // time of the next attempt
}

// gather gets modules that are needed and missing on this disk from other
// servers, whatever defined them, until ctx ends.
func (l *resolution) gather() {
	tick := time.NewTicker(l.LookAt)
	defer tick.Stop()
	missing := map[string]*lacking{} // by SHA-256
	ended, under := make(chan string), 0
	for {
		select {
		case <-l.ctx.Done():
			for ; under > 0; under-- {
				<-ended
			}
			return
		case sum := <-ended:
			under--
			if m := missing[sum]; m != nil {
				m.under = false
				m.wait = min(max(2*m.wait, l.LookAt), lastPeerWait)
				m.next = time.Now().Add(m.wait)
			}
			if l.Store.there(sum) {
				l.post(l.ctx, l.revive)
			}
		case <-tick.C:
			missing = l.missing(missing)
		}
		for sum, m := range missing {
			if under == peersAtOnce || m.under || time.Now().Before(m.next) {
				continue
			}
			m.under = true
			under++
			go func() {
				_ = l.Peers.Get(l.ctx, sum) // reports its errors itself
				ended <- sum
			}()
		}
	}
}

// missing returns the modules that are needed and missing, with their previous
// state.
func (l *resolution) missing(before map[string]*lacking) map[string]*lacking {
	now := map[string]*lacking{}
	sums := make(chan []string, 1)
	l.post(l.ctx, func() {
		named := l.Needed()
		for _, g := range l.lost {
			named = append(named, g.module.SHA256)
		}
		sums <- named
	})
	select {
	case <-l.ctx.Done():
	case named := <-sums:
		for _, sum := range named {
			if !IsSHA256(sum) || now[sum] != nil || l.Store.there(sum) {
				continue
			}
			if now[sum] = before[sum]; now[sum] == nil {
				now[sum] = &lacking{}
			}
		}
	}
	return now
}

// revive restores the last good versions of filters whose modules are present
// again.
func (l *resolution) revive() {
	for name, g := range l.lost {
		if !l.has(g.module) {
			continue
		}
		delete(l.lost, name)
		if e := l.filters[name]; e != nil && e.good.definition == nil {
			e.good, e.judged = g, nil
		}
	}
}
