package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// While a change is open on an Envoy, the version before of each filter that it
// changes stands by: it has a twin of its own in the primer, so its VM lives on, and
// a slot can go back to it at once. It is primed before it leaves its slot, from the
// VM that runs there. When the change is done or undone, that twin is emptied, which
// frees its VM at once, and leaves the primer; the listener that is drained would keep
// it for as long as that takes.

const standbyTwin = resource.TwinPrefix + resource.StandbyPrefix

// standbyTwins are the twins of standbys that this Envoy asks for.
func (v *state) standbyTwins() []string {
	names := v.subs[Extension].names.All()
	from, _ := slices.BinarySearch(names, standbyTwin)
	names = names[from:]
	n := slices.IndexFunc(names, func(name string) bool { return !strings.HasPrefix(name, standbyTwin) })
	if n >= 0 {
		names = names[:n]
	}
	return names
}

// standsBy tells whether f, in the version that is wanted, stands by (invariant 1).
func (v *state) standsBy(f *resource.Filter) bool {
	s, twin := &v.subs[Extension], resource.TwinPrefix+f.StandbyName()
	have, ok := s.have.Find(twin)
	return f.Missing == "" && ok && have.Version == f.Version && s.names.Has(twin)
}

// standbysToPrime are the standbys that this Envoy is to be primed with.
func (v *state) standbysToPrime() []*resource.Filter {
	if len(v.snap.Standbys) == 0 || !v.subs[Listener].subscribed {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(v.snap.Standbys), v.primed)
}

// toPrime are the filters to prime, in their order: standbys first whose modules the
// Envoy has, as they run. One that it has to fetch comes when nothing else is to be
// primed any more.
func (v *state) toPrime(now time.Time) []*resource.Filter {
	filters, standbys := v.unprimed(), v.standbysToPrime()
	if len(standbys) == 0 {
		return filters
	}
	var first, last []*resource.Filter
	for _, f := range standbys {
		if v.cached(f) {
			first = append(first, f)
		} else {
			last = append(last, f)
		}
	}
	if slices.ContainsFunc(filters, func(f *resource.Filter) bool { return f.Missing == "" && !v.givenUp(f, now) }) {
		last = nil
	}
	return slices.Concat(first, filters, last)
}

// isToStandBy tells whether what a slot has is to stand by and is about to: then the
// slot keeps it until it does.
func (v *state) isToStandBy(have item, now time.Time) bool {
	if len(v.snap.Standbys) == 0 || have.Filter == nil {
		return false
	}
	s := v.filter(have.Filter.StandbyName())
	if s == nil || s.Version != have.Filter.Version {
		return false
	}
	p := v.priming(s.Name)
	return p != nil && p.nacks == 0 && !p.alone && !p.overdue(now) && v.refusal(Listener, resource.PrimerListener) == nil
}

// goesBack tells whether some filter that stands by is wanted again, and is about to
// be primed in its own twin: until then the primer keeps the other.
func (v *state) goesBack() bool {
	return len(v.standbyTwins()) > 0 && slices.ContainsFunc(v.unprimed(), func(f *resource.Filter) bool {
		p := v.priming(f.Name)
		return p != nil && p.nacks == 0 && v.standsBy(f)
	})
}

// released are the twins of standbys that are not wanted any more, emptied.
func (v *state) released() []item {
	var changed []item
	for _, twin := range v.standbyTwins() {
		f := v.filter(resource.StandsFor(filterOf(twin)))
		have, ok := v.subs[Extension].have.Find(twin)
		if v.filterAt(twin) != nil || ok && have.Version == resource.EmptyVersion {
			continue
		}
		if f != nil && ok && have.Version == f.Version && !v.primed(f) {
			continue // the slot is filled from it
		}
		changed = append(changed, v.interner.Empty(twin))
	}
	return changed
}

// emptied is what the twin of a standby is to hold that is not wanted any more.
func (v *state) emptied(twin string) (item, bool) {
	if !strings.HasPrefix(twin, standbyTwin) {
		return item{}, false
	}
	return v.interner.Empty(twin), true
}
