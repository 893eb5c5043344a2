package swap

import (
	"slices"
	"sync"
	"sync/atomic"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// What an Envoy has and lacks is a matter of what it ACKed, its names and its
// snapshot. Machines that share them share the answer, which is kept with the
// Acked: with ten thousand of them it is found out once.

// answers are what was found out of an Acked last.
type answers struct {
	whole      atomic.Pointer[whole]    // of all types but ECDS
	unprimed   atomic.Pointer[unprimed] // of ECDS, as the following
	behind     atomic.Pointer[behind]
	placements recent
	fills      atomic.Uint64                  // the Serial of listeners whose every slot has a content here
	named      atomic.Pointer[intern.NameSet] // subscriptions that name all of it
}

// asker is what an answer depends on besides the Acked.
type asker struct {
	snap     *resource.Snapshot
	names    *intern.NameSet
	wildcard bool
	lds      bool // whether listeners come from here

	// Which slots there are, and what they hold, is a matter of both.
	listeners  *acked
	extensions *acked
	slots      *intern.NameSet // that are subscribed to
	routes     *intern.NameSet
	ecds       bool
	respare    bool
}

func (v *state) asker(t Type) asker {
	s, ecds := &v.subs[t], &v.subs[Extension]
	by := asker{snap: v.snap, names: s.names, wildcard: s.wildcard, lds: v.subs[Listener].subscribed}
	if t == Listener || t == Extension {
		by.listeners, by.extensions, by.slots, by.routes = v.subs[Listener].have, ecds.have, ecds.names, v.subs[Route].names
		by.ecds, by.respare = ecds.subscribed, v.respareDue
	}
	return by
}

// whole tells whether an Acked is all that is wanted.
type whole struct {
	asker
	is bool
}

// complete tells whether the Envoy has all of a type that it asks for, and
// nothing that is gone: then nothing is sent (invariant 7). It is not for ECDS.
func (v *state) complete(t Type) bool {
	s := &v.subs[t]
	if t == Extension || s.nonce == 0 && len(s.have.Items) == 0 {
		return false // a fresh Envoy is answered in any case
	}
	if t == Runtime {
		return v.hasAll(t) // the rate is this Envoy's own
	}
	by := v.asker(t)
	if w := s.have.Answers.whole.Load(); w != nil && w.asker == by && len(v.unknown) == 0 {
		return w.is
	}
	w := &whole{by, v.hasAll(t) && len(v.obsolete(t)) == 0}
	if len(v.unknown) == 0 {
		s.have.Answers.whole.Store(w)
	}
	return w.is
}

// Settled tells whether the Envoy has all that it asks for, and nothing that is
// gone, of every type but ECDS, of which Filters tells, and RTDS, on which nothing
// depends that serves.
func (m *Machine) Settled() bool {
	for t := range Types {
		s := &m.subs[t]
		if t == Extension || t == Runtime || !s.subscribed || m.complete(t) {
			continue
		}
		// What is asked for by name, and gone, a listener that is drained may need.
		switch {
		case t == Route && !m.routesInUseSettled(), t != Route && !m.hasAll(t):
			return false
		case t == Listener && len(m.obsolete(t)) > 0, t == Cluster && len(m.obsolete(t)) > 0 && m.allRoutesSettled():
			return false
		}
	}
	return !m.moving()
}

// current tells whether an own slot is of a listener as it is to be, not of one
// that is drained, or about to be replaced.
func (v *state) current(slot string) bool {
	of, id, own := resource.SlotOf(slot)
	r := v.placements().byListener[of]
	return own && r != nil && r.layout != nil && id == r.layout.ID
}

// moving tells whether some listener's own slot is to get another filter, or to
// lose the one that it has.
func (v *state) moving() bool {
	for slot, c := range v.placements().contents {
		if !v.current(slot) {
			continue
		}
		have, filled := v.subs[Extension].have.Find(slot)
		switch {
		case c.leaving, !c.as && c.filter == nil && !(filled && have.Version == resource.EmptyVersion):
			return true
		case c.filter != nil && !(filled && v.holds(have) == c.filter.Name) && c.filter.OnFailure != definition.Open:
			return true
		}
	}
	return false
}

// hasAll tells whether the Envoy has all that it asks for and can get.
func (v *state) hasAll(t Type) bool {
	s := &v.subs[t]
	if s.names != nil {
		for _, name := range s.names.Sorted {
			if it, ok := v.lookup(t, name); ok && !v.enough(t, it) {
				return false
			}
		}
	}
	return !s.wildcard || !slices.ContainsFunc(v.every(t), func(r *resource.Resource) bool {
		it, ok := v.lookup(t, r.Name)
		return ok && !v.enough(t, it)
	})
}

// enough tells whether the Envoy has a resource, or one that does as well: the
// module server of another xds-server, until something is to be fetched.
func (v *state) enough(t Type, it item) bool {
	have, ok := v.subs[t].have.Find(it.Name)
	return ok && (have.Is(it) || t == Cluster && it.Name == v.snap.ModuleServer)
}

// unprimed are the filters of a snapshot that are not primed, in its order.
type unprimed struct {
	asker
	filters []*resource.Filter
}

// primer is who asks about filters: what it asks for doesn't matter where
// listeners come from here, as filters are then primed at their twins.
func (v *state) primer() asker {
	by := v.asker(Extension)
	by = asker{snap: by.snap, names: by.names, wildcard: by.wildcard, lds: by.lds}
	if by.lds {
		by.names, by.wildcard = nil, false
	}
	return by
}

// unprimed looks at what this Envoy has to be primed with.
func (v *state) unprimed() []*resource.Filter {
	s := &v.subs[Extension]
	if len(v.poisoned) > 0 { // which filters were NACKed is this Envoy's own
		return slices.DeleteFunc(slices.Clone(v.snap.Filters), v.primed)
	}
	u := &unprimed{asker: v.primer()}
	if old := s.have.Answers.unprimed.Load(); old != nil && old.asker == u.asker {
		return old.filters
	}
	for _, f := range v.snap.Filters {
		if !v.primed(f) {
			u.filters = append(u.filters, f)
		}
	}
	s.have.Answers.unprimed.Store(u)
	return u.filters
}

// behind are the serving slots that are not, or not surely, as a snapshot
// wants them.
type behind struct {
	asker
	slots []string
}

// behind looks at the slots that this Envoy asks for.
func (v *state) behind() []string {
	s := &v.subs[Extension]
	if slices.ContainsFunc(v.poisoned, func(name string) bool { return !isTwin(name) }) {
		return slices.DeleteFunc(slices.Clone(s.names.Sorted), isTwin)
	}
	b := &behind{asker: v.asker(Extension)}
	if old := s.have.Answers.behind.Load(); old != nil && old.asker == b.asker {
		return old.slots
	}
	for _, name := range s.names.Sorted {
		if !isTwin(name) && !v.asWanted(name) {
			b.slots = append(b.slots, name)
		}
	}
	s.have.Answers.behind.Store(b)
	return b.slots
}

// asWanted tells whether a slot, and its twin if there is one, have what the
// snapshot wants.
func (v *state) asWanted(name string) bool {
	s := &v.subs[Extension]
	want, ok := v.lookup(Extension, name)
	if !ok {
		_, filled := s.have.Find(name)
		return filled && v.placements().contents[name].as
	}
	have, ok := s.have.Find(name)
	if !ok || have.Version != want.Version {
		return false
	}
	if want.Filter == nil {
		return true
	}
	point, ok := s.have.Find(v.point(want.Filter))
	return ok && point.Version == want.Filter.Version
}

// recent holds the placements of Envoys that have the same contents and differ in
// what they ask for, as those of a fleet do that comes at once.
type recent struct {
	newest atomic.Pointer[placements]

	mu  sync.Mutex
	all map[asker]*placements
}

// mostRecent is more than an Envoy that starts asks for one by one.
const mostRecent = 64

func (r *recent) of(by asker, unknown []string) *placements {
	if rs := r.newest.Load(); rs != nil && rs.asker == by && sameSlice(rs.unknown, unknown) {
		return rs
	}
	if len(unknown) > 0 { // one Envoy's own
		return nil
	}
	r.mu.Lock()
	rs := r.all[by]
	r.mu.Unlock()
	if rs != nil {
		r.newest.Store(rs)
	}
	return rs
}

func (r *recent) add(rs *placements) {
	r.newest.Store(rs)
	if len(rs.unknown) > 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil || len(r.all) >= mostRecent {
		r.all = map[asker]*placements{}
	}
	r.all[rs.asker] = rs
}
