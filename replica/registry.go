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

// Where the servers are in the store.
const (
	keys       = "replicas/"
	memberKeys = keys + "member/" // ID
	leaderKey  = keys + "leader"
)

// How often a server shows that it lives, and for how long one that does not is taken
// to live, and is remembered. Each server measures that by its own clock, from when it
// has seen the other show it: clocks are not compared.
const (
	beatEvery   = 5 * time.Second
	livesFor    = 20 * time.Second
	forgetAfter = 10 * time.Minute
	lookEvery   = time.Second
	storeTime   = 5 * time.Second // that the store may take for one call
)

// Member is a server.
type Member struct {
	ID      string `json:"id"`
	Address string `json:"address"`           // host:port, where others reach it
	Key     string `json:"key"`               // the Hash of its Key
	Beat    uint64 `json:"beat"`              // another each time that it shows that it lives
	Streams int    `json:"streams,omitempty"` // of Envoys that it has
	Takes   bool   `json:"takes,omitempty"`   // it has what Envoys are to have, and does not end
	// Clock is its clock when it last showed that it lives.
	Clock time.Time `json:"clock,omitzero"`
}

// leader is who leads.
type leader struct {
	ID   string `json:"id"`
	Term uint64 `json:"term"`
}

// Registry knows the servers of a store. It is safe for concurrent use.
type Registry struct {
	store state.Store
	log   *slog.Logger
	again chan struct{} // holds a token while nobody looks because a server is not known
	early chan struct{} // holds a token when the next beat is not to wait

	mu     sync.Mutex
	own    Member
	shown  bool // own was written
	twin   bool // another server has the same id
	seen   map[string]*seen
	leader leader
	looked time.Time                // when the store last said who there is
	asked  time.Time                // when it was last asked because a server is not known
	skews  map[string]time.Duration // of the clocks of servers that were seen, by id
	trusts bool                     // see SameClock
}

// seen is a server as it was seen.
type seen struct {
	Member
	revision state.Revision
	at       time.Time // when its beat was first seen
}

// NewRegistry makes a Registry of a server, which others see while Run runs.
func NewRegistry(store state.Store, own Member, log *slog.Logger) *Registry {
	r := &Registry{store: store, own: own, log: log, again: make(chan struct{}, 1), early: make(chan struct{}, 1), seen: map[string]*seen{}, skews: map[string]time.Duration{}, trusts: true}
	r.again <- struct{}{}
	return r
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
			r.log.Warn("it is not known which other servers there are: those that were known count", "error", err)
		}
		select {
		case <-ctx.Done():
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
			defer cancel()
			if _, err := r.store.Apply(short, []state.Op{{Key: memberKeys + r.ID(), Remove: true}}); err != nil {
				r.log.Warn("other servers are not told that this one ends", "error", err)
			}
			return
		case <-r.early:
			last = time.Time{}
		case <-time.After(lookEvery):
		}
	}
}

// show has others see this server.
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

// Tell changes what others are told of this server from its next beat on.
func (r *Registry) Tell(change func(own *Member)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.own)
}

// TellNow is Tell, with a beat at once.
func (r *Registry) TellNow(change func(own *Member)) {
	r.Tell(change)
	select {
	case r.early <- struct{}{}:
	default: // one is about to come
	}
}

// look sees who there is, and has the store forget who has not been for long.
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
			return fmt.Errorf("forget the server %s: %w", s.ID, err)
		}
	}
	return nil
}

// took takes what the store says, and gives all servers in it. shown is whether this
// one was written before the store was asked.
func (r *Registry) took(entries []state.Entry, shown bool) map[string]*seen {
	now := time.Now()
	there := map[string]*seen{}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.leader = leader{}
	twin := false
	for _, e := range entries {
		if e.Key == leaderKey {
			_ = json.Unmarshal(e.Value, &r.leader) // else nobody is known to lead
			continue
		}
		id := strings.TrimPrefix(e.Key, memberKeys)
		var m Member
		if json.Unmarshal(e.Value, &m) != nil || m.ID != id {
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
		r.log.Error("another server has the id of this one: the data directory of one is a copy of the other's, and must not be", "id", r.own.ID)
	}
	r.seen, r.looked, r.twin = there, now, twin
	return maps.Clone(there)
}

// askAgainAfter is how often the store is asked at most because a server is not known.
const askAgainAfter = 500 * time.Millisecond

const (
	// mostSkew is by how much the clock of another may seem to differ, which is seen by
	// this one up to a beat late.
	mostSkew  = 15 * time.Second
	mostSkews = 1000 // servers
)

// differs says whether the clock of a server differs from this one's, as far as is known.
// The caller holds r.mu.
func (r *Registry) differs(id string) bool {
	skew, known := r.skews[id]
	return !known || skew.Abs() > mostSkew
}

// SameClock says whether who led before this server did has about the same clock, so
// that times that it has written down mean the same here.
func (r *Registry) SameClock() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trusts
}

// lookAgain looks once more, as somebody is not known, but not as often as strangers
// may ask for it. Those who call meanwhile wait for that look.
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

// of gives a server by the hash of its key.
func (r *Registry) of(key string) (Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		if s.Key == key && key != "" {
			return s.Member, true
		}
	}
	return Member{}, false
}

// ID is that of this server.
func (r *Registry) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own.ID
}

// Twin says whether another server has the same id.
func (r *Registry) Twin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.twin
}

// lives says whether a server that was seen lives. While the store can't be asked, it
// is as it was. The caller holds r.mu.
func (r *Registry) lives(s *seen) bool { return r.looked.Sub(s.at) < livesFor }

// Others are the other servers that there are, and whether they live. Who does not, and
// was where one is that lives, is that one, which has lost its disk since.
func (r *Registry) Others() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := map[string]bool{r.own.Address: true}
	for _, s := range r.seen {
		taken[s.Address] = taken[s.Address] || r.lives(s)
	}
	others := map[string]bool{}
	for id, s := range r.seen {
		if lives := r.lives(s); id != r.own.ID && (lives || !taken[s.Address]) {
			others[id] = lives
		}
	}
	return others
}

// Known is a server that was seen.
type Known struct {
	Member
	Lives bool
}

// All are all servers that there are, this one too.
func (r *Registry) All() []Known {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []Known{{r.own, true}}
	for id, s := range r.seen {
		if id != r.own.ID {
			all = append(all, Known{s.Member, r.lives(s)})
		}
	}
	return all
}

// Living are the other servers that live, by id.
func (r *Registry) Living() map[string]Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := map[string]Member{}
	for id, s := range r.seen {
		if id != r.own.ID && r.lives(s) {
			all[id] = s.Member
		}
	}
	return all
}

// Heard is another server, and since when what it tells is known.
type Heard struct {
	Member
	At time.Time
}

// Heard are the other servers that are heard now: none while the store can't be asked.
func (r *Registry) Heard() []Heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Heard
	for id, s := range r.seen {
		if id != r.own.ID && time.Since(s.at) < livesFor {
			all = append(all, Heard{s.Member, s.at})
		}
	}
	return all
}

// Leader is who leads, in which term; 0: that is not known.
func (r *Registry) Leader() (Member, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leader.ID == r.own.ID {
		return r.own, r.leader.Term
	}
	if s := r.seen[r.leader.ID]; s != nil {
		return s.Member, r.leader.Term
	}
	return Member{}, 0
}

// Lead leads under a name, and says so to the others.
func (r *Registry) Lead(ctx context.Context, name string) (state.Term, error) {
	t, err := r.store.Lead(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		t.End()
		return nil, fmt.Errorf("find out who led: %w", err)
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
		return nil, fmt.Errorf("tell others that this server leads: %w", err)
	}
	return t, nil
}
