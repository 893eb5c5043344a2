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
// snapshot. Machines that share them share the answers: with ten thousand of them
// each is found out once.

// asker is what such answers depend on: not on RTDS, which is each Envoy's own.
type asker struct {
	snap                 *resource.Snapshot
	delta                bool
	have                 [Runtime]*acked
	names                [Runtime]*intern.NameSet
	wildcard, subscribed [Runtime]bool
	respare              bool
	without              string // see state
}

// standing is an asker, and what was found out of it.
type standing struct {
	asker

	resolved   [Runtime]atomic.Pointer[resolved] // see resolve
	placements answer[*placements]
	complete   [Runtime]answer[bool]      // but for ECDS
	unprimed   answer[[]*resource.Filter] // of an Envoy that has refused nothing in place of what it has
	behind     answer[[]string]           // of one that has refused none of its slots
	cached     answer[map[string]bool]    // SHA-256 of modules
	filled     answer[bool]
	elsewhere  answer[bool] // see otherModuleServer
	unused     answer[[]string]
	unasked    answer[bool] // see asking
	moving     answer[bool]
	newer      atomic.Pointer[newer]
	fill       answer[[]item]          // see slots
	prime      answer[[]item]          // see nextTwins
	twins      atomic.Pointer[twins]   // found last
	outcome    atomic.Pointer[outcome] // of the newest ACK that led here
}

// answer is found out when it is first asked for. If that is by several at once,
// each finds the same.
type answer[T any] struct{ found atomic.Pointer[T] }

func (a *answer[T]) get(find func() T) T {
	if found := a.found.Load(); found != nil {
		return *found
	}
	found := find()
	a.found.Store(&found)
	return found
}

func (v *state) asker() asker {
	by := asker{snap: v.snap, delta: v.delta, respare: v.respareDue, without: v.without}
	for t := range Runtime {
		s := &v.subs[t]
		by.have[t], by.names[t], by.wildcard[t], by.subscribed[t] = s.have, s.names, s.wildcard, s.subscribed
	}
	return by
}

// standing is where this Envoy stands. Who changes what it depends on sets v.at to
// nil.
func (v *state) standing() *standing {
	if v.at == nil {
		if len(v.unknown) > 0 { // it is this Envoy's own
			v.at = &standing{asker: v.asker()}
		} else {
			v.at = v.subs[Extension].have.Answers.standings.of(v.asker())
		}
	}
	return v.at
}

// answers are what was found out of what Envoys have of ECDS, and of that of other
// types only named.
type answers struct {
	standings recent
	named     atomic.Pointer[intern.NameSet] // subscriptions that name all of it
}

// recent holds the standings of Envoys that have the same contents and differ in
// the rest, as those of a fleet do that comes at once.
type recent struct {
	newest atomic.Pointer[standing]

	mu  sync.Mutex
	all map[asker]*standing
}

// mostRecent is more than an Envoy that starts asks for one by one.
const mostRecent = 64

func (r *recent) of(by asker) *standing {
	if st := r.newest.Load(); st != nil && st.asker == by {
		return st
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	st := r.all[by]
	if st == nil {
		if r.all == nil || len(r.all) >= mostRecent {
			r.all = map[asker]*standing{}
		}
		st = &standing{asker: by}
		r.all[by] = st
	}
	r.newest.Store(st)
	return st
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
	return v.standing().complete[t].get(func() bool { return v.hasAll(t) && len(v.obsolete(t)) == 0 })
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

// InPlace tells whether the Envoy has all of the snapshot that it asks for, and
// has answered all that it was sent.
func (m *Machine) InPlace() bool {
	for t := range Types {
		if m.subs[t].flight != nil {
			return false
		}
	}
	ecds := &m.subs[Extension]
	if m.mute() || ecds.names != nil && len(m.behind()) > 0 || slices.ContainsFunc(m.unprimed(), m.asks) {
		return false
	}
	return m.Settled()
}

// asks tells whether the Envoy has a use for a filter: those whose listeners are
// from here prime all.
func (v *state) asks(f *resource.Filter) bool {
	return v.subs[Listener].subscribed || v.wants(Extension, f.Name)
}

// Fresh tells whether the Envoy has brought nothing to this stream: as one that has
// just started, or one that never got anything.
func (m *Machine) Fresh() bool { return !m.known }

// Empty tells whether the Envoy has nothing of what it was sent.
func (m *Machine) Empty() bool {
	for t := range Types {
		if len(m.subs[t].have.Items) > 0 {
			return false
		}
	}
	return true
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
func (v *state) moving() bool { return v.standing().moving.get(v.findMoving) }

func (v *state) findMoving() bool {
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

// unprimed are the filters of the snapshot that this Envoy has to be primed with,
// in its order.
func (v *state) unprimed() []*resource.Filter {
	find := func() []*resource.Filter {
		return slices.DeleteFunc(slices.Clone(v.snap.Filters), v.primed)
	}
	for _, name := range v.poisoned {
		if _, ok := v.subs[Extension].have.Find(name); ok { // else it is not primed in any case
			return find()
		}
	}
	return v.standing().unprimed.get(find)
}

// behind are the serving slots that this Envoy asks for and that are not, or not
// surely, as the snapshot wants them.
func (v *state) behind() []string {
	s := &v.subs[Extension]
	if slices.ContainsFunc(v.poisoned, func(name string) bool { return !isTwin(name) }) {
		return slices.DeleteFunc(slices.Clone(s.names.Sorted), isTwin)
	}
	return v.standing().behind.get(func() []string {
		return slices.DeleteFunc(slices.Clone(s.names.Sorted), func(name string) bool { return isTwin(name) || v.asWanted(name) })
	})
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
