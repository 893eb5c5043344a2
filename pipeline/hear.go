package pipeline

import (
	"context"
	"sync"
	"time"

	"wasmxds/signal/relay"
)

const (
	askEvery = time.Second
	askTime  = 3 * time.Second // timeout of a request to another server
)

// hearing collects, while this server leads, what Envoys report to other
// servers.
type hearing struct {
	leader   *relay.Leader
	follower *relay.Follower
	rates    func() map[string]uint32 // sampling rates of all Envoys that are watched
	term     func() uint64            // term in which this server leads; 0: it does not
	living   func() []string          // other servers that are alive
	ask      func(ctx context.Context, server string, a relay.Ask) (relay.Answer, error)

	mu    sync.Mutex
	under map[string]bool // servers with a request in progress
}

// run queries other servers while any Envoy is watched, until ctx ends. It also
// ends the sampling that another leader requested from this server when its
// requests stop.
func (h *hearing) run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	watched := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.follower.Expire(time.Now())
		term, rates := h.term(), h.rates()
		switch {
		case term == 0:
			watched = false
			h.leader.Deaf(time.Now())
			continue
		case len(rates) == 0 && !watched:
			continue
		}
		watched = len(rates) > 0 // if there are none, the others are told so once
		for server, a := range h.leader.Asks(time.Now(), term, rates, h.living()) {
			if h.begin(server) {
				under.Go(func() { h.one(ctx, server, a) })
			}
		}
	}
}

// begin reports whether a server may be queried: not while a request to it is
// in progress.
func (h *hearing) begin(server string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.under[server] {
		return false
	}
	h.under[server] = true
	return true
}

// one queries a server. The leader notices if there is no answer.
func (h *hearing) one(ctx context.Context, server string, a relay.Ask) {
	short, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if answer, err := h.ask(short, server, a); err == nil {
		h.leader.Take(time.Now(), server, answer)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.under, server)
}
