package replica

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"wasmxds/state"
)

// Keys in the store.
const (
	keys       = "replicas/"
	memberKeys = keys + "member/" // ID
	leaderKey  = keys + "leader"
)

// The intervals at which a replica shows that it lives, and after which one that does not
// is taken for dead, and is forgotten. Each replica measures them by its own clock, from
// the moment it has seen a beat. Clocks are not compared.
const (
	beatEvery   = 5 * time.Second
	livesFor    = 20 * time.Second
	forgetAfter = 10 * time.Minute
	lookEvery   = time.Second
	storeTime   = 5 * time.Second // timeout of one call of the store
)

// Member is a replica.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"`           // host:port at which other replicas reach it
	Key     string `json:"key"`               // the Hash of its Key
	Beat    uint64 `json:"beat"`              // changes each time it shows that it lives
	Streams int    `json:"streams,omitempty"` // number of Envoy streams
	Takes   bool   `json:"takes,omitempty"`   // it has a snapshot for Envoys, and is not terminating
	// Clock is the time of its last beat, by its own clock.
	Clock time.Time `json:"clock,omitzero"`
}

// leader identifies the leader.
type leader struct {
	ID   string `json:"id"`
	Term uint64 `json:"term"`
}

// Registry knows the replicas that share a store. It is safe for concurrent use.
type Registry struct {
	store state.Store
	log   *slog.Logger
	again chan struct{} // holds a token unless somebody looks up an unknown replica
	early chan struct{} // holds a token when the next beat must not wait

	mu     sync.Mutex
	own    Member
	shown  bool // own was written to the store
	twin   bool // another replica has the same ID
	seen   map[string]*seen
	leader leader
	looked time.Time                // when the store was last listed
	asked  time.Time                // when it was last listed because of an unknown replica
	skews  map[string]time.Duration // clock differences of the replicas that were seen, by ID
	trusts bool                     // see SameClock
}

// seen is a replica as it was last seen.
type seen struct {
	Member
	revision state.Revision
	at       time.Time // when its beat was first seen
}

// NewRegistry returns the Registry of a replica, which other replicas see while Run runs.
func NewRegistry(store state.Store, own Member, log *slog.Logger) *Registry {
	r := &Registry{store: store, own: own, log: log, again: make(chan struct{}, 1), early: make(chan struct{}, 1), seen: map[string]*seen{}, skews: map[string]time.Duration{}, trusts: true}
	r.again <- struct{}{}
	return r
}

// Run shows this replica to the others, and looks for them, until ctx ends. Then it removes
// this replica from the store.
func (r *Registry) Run(ctx context.Context) {
	var last time.Time
	for {
		if last.IsZero() || time.Since(last) >= beatEvery {
			last = time.Now()
			if err := r.show(ctx); err != nil && ctx.Err() == nil {
				r.log.Warn("can't register this replica in the state", "error", err)
			}
		}
		if err := r.look(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("can't read which replicas exist: the last known ones count", "error", err)
		}
		select {
		case <-ctx.Done():
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
			defer cancel()
			if _, err := r.store.Apply(short, []state.Op{{Key: memberKeys + r.ID(), Remove: true}}); err != nil {
				r.log.Warn("can't unregister this replica from the state", "error", err)
			}
			return
		case <-r.early:
			last = time.Time{}
		case <-time.After(lookEvery):
		}
	}
}

// show writes this replica's next beat.
func (r *Registry) show(ctx context.Context) error {
	r.mu.Lock()
	r.own.Beat++
	r.own.Clock = time.Now()
	own := r.own
	r.mu.Unlock()
	value, err := json.Marshal(own)
	if err != nil {
		return err
	}
	short, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if _, err := r.store.Apply(short, []state.Op{{Key: memberKeys + own.ID, Value: value}}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shown = true
	return nil
}

// Tell changes own, which other replicas see from the next beat on.
func (r *Registry) Tell(change func(own *Member)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.own)
}

// TellNow is like Tell, but writes a beat at once.
func (r *Registry) TellNow(change func(own *Member)) {
	r.Tell(change)
	select {
	case r.early <- struct{}{}:
	default: // one is about to be written
	}
}

// look lists the replicas, and removes those from the store that have been dead for long.
func (r *Registry) look(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	r.mu.Lock()
	shown := r.shown
	r.mu.Unlock()
	entries, _, err := r.store.List(short, keys)
	if err != nil {
		return err
	}
	var gone []*seen
	for _, s := range r.took(entries, shown) {
		if s.ID != r.ID() && time.Since(s.at) >= forgetAfter {
			gone = append(gone, s)
		}
	}
	for _, s := range gone {
		if err := r.store.Delete(short, memberKeys+s.ID, s.revision); err != nil && !errors.Is(err, state.ErrConflict) {
			return fmt.Errorf("remove replica %s, which is gone, from the state: %w", s.ID, err)
		}
	}
	return nil
}

// took records the entries of the store, and returns all replicas among them. shown is
// whether this one was written before the store was listed.
func (r *Registry) took(entries []state.Entry, shown bool) map[string]*seen {
	now := time.Now()
	there := map[string]*seen{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = leader{}
	twin := false
	for _, e := range entries {
		if e.Key == leaderKey {
			var l leader
			if json.Unmarshal(e.Value, &l) == nil { // otherwise no leader is known
				r.leader = l
			}
			continue
		}
		id, is := strings.CutPrefix(e.Key, memberKeys)
		var m Member
		if !is || id == "" || json.Unmarshal(e.Value, &m) != nil || m.ID != id {
			continue
		}
		s := r.seen[id]
		if s == nil || s.Beat != m.Beat || s.Address != m.Address || s.Key != m.Key {
			s = &seen{at: now}
			if len(r.skews) >= mostSkews {
				clear(r.skews)
			}
			r.skews[id] = now.Sub(m.Clock)
		}
		s = &seen{m, e.Revision, s.at}
		there[id] = s
		twin = twin || shown && id == r.own.ID && m.Key != r.own.Key
	}
	if twin && !r.twin {
		r.log.Error("another replica has the same id, because one data directory is a copy of the other: give each replica a data directory of its own", "id", r.own.ID)
	}
	r.seen, r.looked, r.twin = there, now, twin
	return maps.Clone(there)
}

// askAgainAfter is the shortest interval between two lookups of unknown replicas.
const askAgainAfter = 500 * time.Millisecond

const (
	// mostSkew is how much the clock of another replica may seem to differ. Its beat is
	// seen up to one interval late.
	mostSkew  = 15 * time.Second
	mostSkews = 1000 // servers
)

// differs reports whether the clock of a replica differs from this one's, or is unknown.
// The caller holds r.mu.
func (r *Registry) differs(id string) bool {
	skew, known := r.skews[id]
	return !known || skew.Abs() > mostSkew
}

// SameClock reports whether the previous leader has about the same clock as this replica,
// so that times that it has written mean the same here.
func (r *Registry) SameClock() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trusts
}

// lookAgain lists the replicas again, because of an unknown key, but not as often as
// strangers could cause it. Concurrent callers wait for the same list.
func (r *Registry) lookAgain(ctx context.Context) error {
	select {
	case <-r.again:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.again <- struct{}{} }()
	r.mu.Lock()
	recent := !r.asked.IsZero() && time.Since(r.asked) < askAgainAfter
	if !recent {
		r.asked = time.Now()
	}
	r.mu.Unlock()
	if recent {
		return nil
	}
	return r.look(ctx)
}

// Lead waits to lead under a name, and writes that this replica leads.
func (r *Registry) Lead(ctx context.Context, name string) (state.Term, error) {
	t, err := r.store.Lead(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		t.End()
		return nil, fmt.Errorf("find the previous leader: %w", err)
	}
	r.mu.Lock()
	before := r.leader.ID
	r.trusts = before == "" || before == r.own.ID || !r.differs(before)
	r.mu.Unlock()
	value, err := json.Marshal(leader{r.ID(), t.Number()})
	if err == nil {
		_, err = t.Store().Apply(ctx, []state.Op{{Key: leaderKey, Value: value}})
	}
	if err != nil {
		t.End()
		return nil, fmt.Errorf("announce that this replica leads: %w", err)
	}
	return t, nil
}
