package module

import (
	"context"
	"io/fs"
	"time"
)

// Peers are other servers of the same state, which may have a module whose origin is
// away, or is on their machine alone.
type Peers interface {
	// Get sees to it that a module is in the Store. Where nobody has it, the error is
	// [fs.ErrNotExist].
	Get(ctx context.Context, sha256 string) error
}

const (
	peersAtOnce  = 4           // modules at once of those that are merely needed
	lastPeerWait = time.Minute // between attempts to get one of them
)

// fromPeers gets a module that is known by its content from another server.
func (l *resolution) fromPeers(ctx context.Context, sha256 string) (Info, error) {
	if l.Peers == nil || sha256 == "" {
		return Info{}, fs.ErrNotExist
	}
	if err := l.Peers.Get(ctx, sha256); err != nil {
		return Info{}, err
	}
	return l.Store.Stat(sha256)
}

// lacking is a module that is needed and not there.
type lacking struct {
	under bool // it is being got
	wait  time.Duration
	next  time.Time // to try
}

// gather gets what is needed and is not on this disk, whatever it was defined by, from
// other servers, until ctx ends.
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
				_ = l.Peers.Get(l.ctx, sum) // says itself what fails
				ended <- sum
			}()
		}
	}
}

// missing are the modules that are needed and not there, as they were known before.
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

// revive has filters go on with what was good last, where its module is there again.
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
