// Package replica joins the xds-servers of one state: who there is, who leads, and how
// they reach each other.
//
// Start with [Registry], which says who there is, and [Peers], which is what they say
// to each other. No Envoy is in the store: what Envoys tell goes from server to
// server.
package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"wasmxds/state"
)

// Where the servers are in the store.
const (
	memberKeys = "replicas/member/" // ID
	leaderKey  = "replicas/leader"
)

// How often a server shows that it lives, and for how long one that does not is taken
// to live, and is remembered. Each server measures that by its own clock, from when it
// has seen the other show it: clocks are not compared.
const (
	beatEvery   = 5 * time.Second
	livesFor    = 20 * time.Second
	forgetAfter = 10 * time.Minute
	lookEvery   = time.Second
)

// Member is a server.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"` // host:port, where others reach it
	Beat    uint64 `json:"beat"`    // another each time that it shows that it lives
}

// leader is who leads.
type leader struct {
	ID   string `json:"id"`
	Term uint64 `json:"term"`
}

// Registry knows the servers of a store. It is safe for concurrent use.
type Registry struct {
	store state.Store
	own   Member
	log   *slog.Logger

	mu     sync.Mutex
	seen   map[string]*seen
	leader leader
}

// seen is a server as it was seen.
type seen struct {
	Member
	revision state.Revision
	at       time.Time // when its beat was first seen
}

// NewRegistry makes a Registry of a server, which is others' to see while Run runs.
func NewRegistry(store state.Store, id, address string, log *slog.Logger) *Registry {
	return &Registry{store: store, own: Member{ID: id, Address: address}, log: log, seen: map[string]*seen{}}
}

// Run has others see this server, and looks for them, until ctx ends. Then it is not
// there any more.
func (r *Registry) Run(ctx context.Context) {
	var last time.Time
	for {
		if last.IsZero() || time.Since(last) >= beatEvery {
			last = time.Now()
			if err := r.show(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("other servers are not told that this one is there", "error", err)
			}
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("it is not known which other servers there are", "error", err)
		}
		select {
		case <-ctx.Done():
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatEvery)
			defer cancel()
			if _, err := r.store.Apply(short, []state.Op{{Key: memberKeys + r.own.ID, Remove: true}}); err != nil {
				r.log.Warn("other servers are not told that this one ends", "error", err)
			}
			return
		case <-time.After(lookEvery):
		}
	}
}

func (r *Registry) show(ctx context.Context) error {
	r.mu.Lock()
	r.own.Beat++
	value, err := json.Marshal(r.own)
	r.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = r.store.Apply(ctx, []state.Op{{Key: memberKeys + r.own.ID, Value: value}})
	return err
}

// look sees who there is, and has the store forget who has not been for long.
func (r *Registry) look(ctx context.Context) error {
	entries, _, err := r.store.List(ctx, "replicas/")
	if err != nil {
		return err
	}
	now := time.Now()
	var gone []*seen
	r.mu.Lock()
	there := map[string]*seen{}
	for _, e := range entries {
		if e.Key == leaderKey {
			var l leader
			if json.Unmarshal(e.Value, &l) == nil && l.Term >= r.leader.Term {
				r.leader = l
			}
			continue
		}
		id := strings.TrimPrefix(e.Key, memberKeys)
		var m Member
		if json.Unmarshal(e.Value, &m) != nil || m.ID != id {
			continue
		}
		s := r.seen[id]
		if s == nil || s.Beat != m.Beat || s.Address != m.Address {
			s = &seen{Member: m, at: now}
		}
		s.revision = e.Revision
		there[id] = s
		if id != r.own.ID && now.Sub(s.at) >= forgetAfter {
			gone = append(gone, s)
		}
	}
	r.seen = there
	r.mu.Unlock()
	for _, s := range gone {
		if err := r.store.Delete(ctx, memberKeys+s.ID, s.revision); err != nil && !errors.Is(err, state.ErrConflict) {
			return fmt.Errorf("forget the server %s: %w", s.ID, err)
		}
	}
	return nil
}

// Others are the other servers that there are, and whether they live.
func (r *Registry) Others() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	others := map[string]bool{}
	for id, s := range r.seen {
		if id != r.own.ID {
			others[id] = time.Since(s.at) < livesFor
		}
	}
	return others
}

// Members are all servers that live, this one too, by id.
func (r *Registry) Members() map[string]Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]Member{r.own.ID: r.own}
	for id, s := range r.seen {
		if id != r.own.ID && time.Since(s.at) < livesFor {
			all[id] = s.Member
		}
	}
	return all
}

// Leader is who leads, in which term; 0: that is not known.
func (r *Registry) Leader() (Member, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.seen[r.leader.ID]; s != nil {
		return s.Member, r.leader.Term
	}
	return Member{}, 0
}

// Lead leads under a name, and says so to the others.
func (r *Registry) Lead(ctx context.Context, in state.Store, name string) (state.Term, error) {
	t, err := in.Lead(ctx, name)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(leader{r.own.ID, t.Number()})
	if err == nil {
		_, err = t.Store().Apply(ctx, []state.Op{{Key: leaderKey, Value: value}})
	}
	if err != nil {
		t.End()
		return nil, fmt.Errorf("tell others that this server leads: %w", err)
	}
	return t, nil
}
