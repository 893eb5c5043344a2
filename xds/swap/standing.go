package swap

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// What an Envoy has and lacks depends on what it has ACKed, on its names and on its
// snapshot. Machines that share these share the answers: with ten thousand machines, each
// answer is computed once.

// asker is what such answers depend on. It does not include RTDS, which differs between
// Envoys.
type asker struct {
	snap                 *resource.Snapshot
	delta                bool
	have                 [Runtime]*acked
	names                [Runtime]*intern.NameSet
	wildcard, subscribed [Runtime]bool
	respare              bool
	without              string // see state
}

// standing is an asker with its cached answers.
type standing struct {
	asker

	resolved   [Runtime]atomic.Pointer[resolved] // see resolve
	placements answer[*placements]
	complete   [Runtime]answer[bool]      // except for ECDS
	unprimed   answer[[]*resource.Filter] // of an Envoy that has rejected nothing in place of what it has
	behind     answer[[]string]           // of an Envoy that has rejected nothing for its slots
	cached     answer[map[string]bool]    // SHA-256 of modules
	filled     answer[bool]
	elsewhere  answer[bool] // see otherModuleServer
	unused     answer[[]string]
	unasked    answer[bool] // see asking
	moving     answer[bool]
	warms      answer[bool]
	newer      atomic.Pointer[newer]
	fill       answer[[]item]          // see slots
	prime      answer[[]item]          // see nextTwins
	twins      atomic.Pointer[twins]   // found last
	outcome    atomic.Pointer[outcome] // of the newest ACK that led here
}

// answer is computed when it is first needed. If several machines need it concurrently,
// each computes the same one.
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

// standing returns the standing of this Envoy. Code that changes what it depends on must
// set v.at to nil.
func (v *state) standing() *standing {
	if v.at == nil {
		if len(v.unknown) > 0 { // it is specific to this Envoy
			v.at = &standing{asker: v.asker()}
		} else {
			v.at = v.subs[Extension].have.Answers.standings.of(v.asker())
		}
	}
	return v.at
}

// answers are cached with what Envoys have: standings with that of ECDS, and only named
// with that of other types.
type answers struct {
	standings recent
	named     atomic.Pointer[intern.NameSet] // subscriptions that contain all of its names
}

// recent contains the standings of Envoys that have the same contents and differ in other
// ways, like those of a fleet that connects at once.
type recent struct {
	newest atomic.Pointer[standing]

	mu  sync.Mutex
	all map[asker]*standing
}

// mostRecent is more than the number of subscriptions that a starting Envoy makes one by
// one.
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

// complete reports whether the Envoy has everything of a type that it subscribes to, and
// nothing that is gone: then nothing is sent (invariant 7). It is always false for ECDS.
func (v *state) complete(t Type) bool {
	s := &v.subs[t]
	if t == Extension || s.nonce == 0 && len(s.have.Items) == 0 {
		return false // a fresh Envoy always gets an answer
	}
	if t == Runtime {
		return v.hasAll(t) // the rate is specific to this Envoy
	}
	return v.standing().complete[t].get(func() bool { return v.hasAll(t) && len(v.obsolete(t)) == 0 })
}

// Settled reports whether the Envoy has everything that it subscribes to, and nothing that
// is gone, of all types except for ECDS, which Filters reports, and RTDS, on which nothing
// that serves depends.
func (m *Machine) Settled() bool {
	for t := range Types {
		s := &m.subs[t]
		if t == Extension || t == Runtime || !s.subscribed || m.complete(t) {
			continue
		}
		// A draining listener may need what is subscribed to by name although it is gone.
		switch {
		case t == Route && !m.routesInUseSettled(), t != Route && !m.hasAll(t):
			return false
		case t == Listener && len(m.obsolete(t)) > 0, t == Cluster && len(m.obsolete(t)) > 0 && m.allRoutesSettled():
			return false
		}
	}
	return !m.moving()
}

// asks reports whether the Envoy has a use for a filter: those whose listeners are from
// this server prime all filters.
func (v *state) asks(f *resource.Filter) bool {
	return v.subs[Listener].subscribed || v.wants(Extension, f.Name)
}

// Fresh reports whether the Envoy had nothing when it began this stream, like one that has
// just started, or never received anything.
func (m *Machine) Fresh() bool { return !m.known }

// Empty reports whether the Envoy has nothing that it was sent.
func (m *Machine) Empty() bool {
	for t := range Types {
		if len(m.subs[t].have.Items) > 0 {
			return false
		}
	}
	return true
}

// current reports whether an own slot belongs to a listener as it should be, not to one
// that is draining, or about to be replaced.
func (v *state) current(slot string) bool {
	of, id, own := resource.SlotOf(slot)
	r := v.placements().byListener[of]
	return own && r != nil && r.layout != nil && id == r.layout.ID
}

// moving reports whether an own slot of a listener should get another filter, or lose the
// one that it has.
func (v *state) moving() bool {
	return v.standing().moving.get(func() bool {
		for range v.moves() {
			return true
		}
		return false
	})
}

// moves returns those slots.
func (v *state) moves() iter.Seq[string] {
	return func(yield func(string) bool) {
		for slot, c := range v.placements().contents {
			if !v.current(slot) {
				continue
			}
			have, filled := v.subs[Extension].have.Find(slot)
			switch {
			case c.leaving, !c.as && c.filter == nil && have.Version != resource.EmptyVersion,
				c.filter != nil && !(filled && v.holds(have) == c.filter.Name) && c.filter.OnFailure != definition.Open:
				if !yield(slot) {
					return
				}
			}
		}
	}
}

// warmsAny reports whether any listener warms.
func (v *state) warmsAny() bool {
	return v.standing().warms.get(func() bool {
		return slices.ContainsFunc(v.subs[Listener].have.Items, func(l item) bool { return v.warms(l, nil) })
	})
}

// warms reports whether a listener that the Envoy has accepted waits for contents of its
// slots, or for its routes, which the Envoy may not even have subscribed to yet. It does not
// wait for contents that were rejected.
func (v *state) warms(l item, rejected []refusal) bool {
	waits := func(slot string) bool {
		_, filled := v.subs[Extension].have.Find(slot)
		return !filled && !slices.ContainsFunc(rejected, func(r refusal) bool { return r.typ == Extension && r.name == slot && v.wantsRefused(r) })
	}
	if slices.ContainsFunc(l.Slots, waits) || slices.ContainsFunc(l.Static, waits) {
		return true
	}
	r := v.placements().byListener[l.Name]
	if r == nil || !r.kept || r.layout.Routes == "" {
		return false
	}
	_, routed := v.subs[Route].have.Find(r.layout.Routes)
	return !routed
}

// hasAll reports whether the Envoy has everything available that it subscribes to.
func (v *state) hasAll(t Type) bool {
	for range v.lacking(t) {
		return false
	}
	return true
}

// lacking returns the names of what the Envoy subscribes to, is available, and is not as
// wanted.
func (v *state) lacking(t Type) iter.Seq[string] {
	return func(yield func(string) bool) {
		s := &v.subs[t]
		lacks := func(name string) bool {
			it, ok := v.lookup(t, name)
			return ok && !v.enough(t, it)
		}
		for _, name := range s.names.All() {
			if lacks(name) && !yield(name) {
				return
			}
		}
		if !s.wildcard {
			return
		}
		for _, r := range v.every(t) {
			if lacks(r.Name) && !yield(r.Name) {
				return
			}
		}
	}
}

// enough reports whether the Envoy has a resource, or one that is as good: the module
// server of another replica, until something must be fetched.
func (v *state) enough(t Type, it item) bool {
	have, ok := v.subs[t].have.Find(it.Name)
	return ok && (have.Is(it) || t == Cluster && it.Name == v.snap.ModuleServer)
}

// unprimed returns the filters of the snapshot that must still be primed on this Envoy, in
// its order.
func (v *state) unprimed() []*resource.Filter {
	find := func() []*resource.Filter {
		return slices.DeleteFunc(slices.Clone(v.snap.Filters), v.primed)
	}
	for _, name := range v.poisoned {
		if _, ok := v.subs[Extension].have.Find(name); ok { // otherwise it is not primed in any case
			return find()
		}
	}
	return v.standing().unprimed.get(find)
}

// behind returns the serving slots that this Envoy subscribes to and that are not, or not
// certainly, as the snapshot wants them.
func (v *state) behind() []string {
	s := &v.subs[Extension]
	if slices.ContainsFunc(v.poisoned, func(name string) bool { return !isTwin(name) }) {
		return slices.DeleteFunc(slices.Clone(s.names.Sorted), isTwin)
	}
	return v.standing().behind.get(func() []string {
		return slices.DeleteFunc(slices.Clone(s.names.Sorted), func(name string) bool { return isTwin(name) || v.asWanted(name) })
	})
}

// asWanted reports whether a slot, and its twin if there is one, have what the snapshot
// wants.
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
