package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
)

// While a change is open on an Envoy, the previous version of each filter that it changes
// is a standby: it has its own twin in the primer, so its VM lives on, and a slot can go
// back to it at once. It is primed before it leaves its slot, from the VM that runs there.
// When the change is done or undone, that twin is emptied, which frees its VM at once, and
// leaves the primer. A draining listener would keep the VM for as long as it drains.

const standbyTwin = resource.TwinPrefix + resource.StandbyPrefix

// standbyTwins returns the twins of standbys that this Envoy subscribes to.
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

// standsBy reports whether f, in its current version, is a standby (invariant 1).
func (v *state) standsBy(f *resource.Filter) bool {
	s, twin := &v.subs[Extension], resource.TwinPrefix+f.StandbyName()
	have, ok := s.have.Find(twin)
	return f.Missing == "" && ok && have.Version == f.Version && s.names.Has(twin)
}

// standbysToPrime returns the standbys that must still be primed on this Envoy.
func (v *state) standbysToPrime() []*resource.Filter {
	if len(v.snap.Standbys) == 0 || !v.subs[Listener].subscribed {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(v.snap.Standbys), v.primed)
}

// toPrime returns the filters to prime, in order: first standbys whose modules the Envoy
// has, because they run. A standby that it must fetch comes last, when nothing else is left
// to prime.
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

// isToStandBy reports whether what a slot has is about to become a standby: the slot keeps
// it until then.
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

// goesBack reports whether a filter that is a standby is wanted again, and is about to be
// primed in its own twin: until then the primer keeps the other twin.
func (v *state) goesBack() bool {
	return len(v.standbyTwins()) > 0 && slices.ContainsFunc(v.unprimed(), func(f *resource.Filter) bool {
		p := v.priming(f.Name)
		return p != nil && p.nacks == 0 && v.standsBy(f)
	})
}

// released returns the twins of standbys that are no longer wanted, emptied.
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

// emptied returns the content of a twin whose standby is no longer wanted.
func (v *state) emptied(twin string) (item, bool) {
	if !strings.HasPrefix(twin, standbyTwin) {
		return item{}, false
	}
	return v.interner.Empty(twin), true
}
