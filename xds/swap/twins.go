package swap

import (
	"cmp"
	"iter"
	"slices"
	"time"

	"wasmxds/resource"
)

// nextTwins returns the next filters to prime. As long as none was pushed, they are
// computed once for all.
func (v *state) nextTwins(now time.Time) []item {
	find := func() []item { return byName(v.contents(v.findTwins(now))) }
	pushed := func(p Priming) bool { return p.sent() || p.attempt > 0 || p.alone || p.here || !p.Due.IsZero() }
	if len(v.poisoned) > 0 || slices.ContainsFunc(v.primings, pushed) {
		return find()
	}
	return v.standing().prime.get(find)
}

// byName are items by name, as responses have them. Standbys come before filters, and
// the twins of Lua filters have names behind those of all others. The items are shared.
func byName(items []item) []item {
	compare := func(a, b item) int { return cmp.Compare(a.Name, b.Name) }
	if slices.IsSortedFunc(items, compare) {
		return items
	}
	return slices.SortedFunc(slices.Values(items), compare)
}

// twin is a filter to prime, at an attempt.
type twin struct {
	filter  *resource.Filter
	attempt int
}

// twins are filters to prime, and the contents of their twins.
type twins struct {
	of    []twin
	items []item
}

// contents returns the contents of twins. Most Envoys with the same standing get the same.
func (v *state) contents(all iter.Seq[twin]) []item {
	last, same := v.standing().twins.Load(), 0
	if last == nil {
		last = &twins{}
	}
	for t := range all {
		if same == len(last.of) || last.of[same] != t {
			return v.makeContents(all)
		}
		same++
	}
	return last.items[:same]
}

func (v *state) makeContents(all iter.Seq[twin]) []item {
	var made twins
	for t := range all {
		made.of = append(made.of, t)
		made.items = append(made.items, filterItem(t.filter, v.point(t.filter), t.attempt))
	}
	v.standing().twins.Store(&made)
	return made.items
}

// findTwins yields the filters to prime. A filter whose module this Envoy must fetch goes
// alone in its response, so that a NACK identifies it. Filters whose modules it has,
// because only their configuration changed or because their downloads have ended, go
// together: they are ACKed, and if not, each is sent again, alone, at its next attempt
// (invariant 5).
func (v *state) findTwins(now time.Time) iter.Seq[twin] {
	return func(yield func(twin) bool) {
		together, gathers := false, v.gathers(now)
		for _, f := range v.toPrime(now) {
			if f.Missing != "" || !v.wants(Extension, v.point(f)) {
				continue
			}
			p := v.priming(f.Name)
			if p == nil || now.Before(p.Due) || v.fetchedForAnother(p, now) {
				continue
			}
			alone := p.alone || !p.here && !v.cached(f)
			if alone && together || !alone && gathers && now.Before(v.gathered(p)) {
				continue
			}
			if together = true; !yield(twin{f, p.attempt}) || alone {
				return
			}
		}
	}
}

// gathers reports whether the Envoy fetches modules, and serves nobody before it has all of
// them: then filters whose modules it has wait a little for the rest, to be sent together.
func (v *state) gathers(now time.Time) bool {
	return slices.ContainsFunc(v.primings, func(p Priming) bool {
		return p.sent() && !p.refused() && now.Before(p.Due)
	}) && v.bare()
}

// gathered returns until when a filter waits for others: an Envoy that takes long to answer
// also takes longer to fetch.
func (v *state) gathered(p *Priming) time.Time {
	return p.Due.Add(min(maxArrival, max(firstBackoff/2, 4*v.lag)))
}

// fetchedForAnother reports whether Envoy is fetching p's module for another filter: a push
// now would make it fetch again.
func (v *state) fetchedForAnother(p *Priming, now time.Time) bool {
	for i := range v.primings {
		o := &v.primings[i]
		if o != p && p.SHA256 != "" && o.SHA256 == p.SHA256 && o.sent() && now.Before(o.Due) && !o.refused() {
			return true
		}
	}
	return false
}
