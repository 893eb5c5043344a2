package replica

import "time"

// of returns the replica with the key of a hash.
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

// ID returns the ID of this replica.
func (r *Registry) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.own.ID
}

// Twin reports whether another replica has the same ID.
func (r *Registry) Twin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.twin
}

// lives reports whether a replica lives. While the store is unavailable, this does not
// change. The caller holds r.mu.
func (r *Registry) lives(s *seen) bool { return r.looked.Sub(s.at) < livesFor }

// Others returns the other replicas, by ID, and whether they live. A dead one at the
// address of a live one is left out: it is the same replica, which has lost its disk since.
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

// Known is a replica that was seen.
type Known struct {
	Member
	Lives bool
}

// All returns all replicas, including this one.
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

// Living returns the other replicas that live, by ID.
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

// Heard is another replica, and when its last beat was first seen.
type Heard struct {
	Member
	At time.Time
}

// Heard returns the other replicas whose beats are recent: none while the store is
// unavailable.
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

// Looked reports whether the store has said which replicas exist.
func (r *Registry) Looked() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.looked.IsZero()
}

// Leader returns the leader and its term; 0: no leader is known.
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
