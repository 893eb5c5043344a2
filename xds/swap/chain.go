package swap

import (
	"math"
	"slices"

	"wasmxds/resource"
)

// A chain of a listener's own slots should hold the wanted filters, in their order. This
// file determines the slot of each filter, and the next changes on the way there. In
// between (invariants 9 and 10)
//
//  - a filter that is present and still wanted never leaves the chain,
//  - the order is one that was wanted: before this change, or after it,
//  - a filter that is no longer wanted leaves when all wanted ones are present.
//
// A filter that moves is therefore present twice for a moment. Changes that are made
// together take effect one after the other, in any order, so any part of each set of
// changes must be valid.

// place is a slot in a chain.
type place struct {
	gap    int
	holds  string // the filter in it; "": none; outsider: one that is not wanted here
	filled bool   // it has a content, possibly one that does nothing

	// guarded means that requests use routes whose mentions of slots are known: a filter
	// that is for some routes may only enter slots that they mention for it.
	guarded bool
	only    string // the filter that routes mention the slot for: no other may enter; "": any may
}

const outsider = "\x00"

// Costs of a filter in a slot: a present filter stays, spares are used first, and filters
// that a change does not affect move only if they must.
const (
	costMove  = 1 << 30 // the filter is in another slot
	costTaken = 1 << 40 // the slot holds another filter, which stays
	costNever = math.MaxInt64 / 4
)

// assign returns a slot for each wanted filter, at the lowest cost that keeps their order.
// ok is false if there are too few slots.
func assign(chain []place, wanted resource.Chain, spares resource.Spares) (at []int, ok bool) {
	n, m := len(chain), len(wanted)
	here := map[string]bool{}
	for _, p := range chain {
		here[p.holds] = true
	}
	far := distances(chain, wanted, spares)
	pinned := map[string]bool{} // filters in slots that routes mention for them
	for _, p := range chain {
		if p.only != "" && here[p.only] {
			pinned[p.only] = true
		}
	}
	// best[j][p] is the lowest cost of the first j filters in the first p slots.
	best := make([][]int64, m+1)
	for j := range best {
		best[j] = make([]int64, n+1)
	}
	for j, w := range wanted {
		best[j+1][0] = costNever
		for p := range chain {
			best[j+1][p+1] = min(best[j+1][p], best[j][p]+costOf(chain[p], w, here[w.Filter], pinned[w.Filter], far(j, p)))
		}
	}
	if best[m][n] >= costNever {
		return nil, false
	}
	at = make([]int, m)
	for j, p := m, n; j > 0; p-- {
		if best[j][p] != best[j][p-1] { // the last slot is not needed at the same cost
			j--
			at[j] = p - 1
		}
	}
	return at, true
}

func costOf(p place, w resource.Wanted, here, pinned bool, far int64) int64 {
	var cost int64
	switch {
	case p.gap != w.Gap, p.holds == outsider: // an outsider leaves last
		return costNever
	case p.only != w.Filter && (p.only != "" || pinned):
		return costNever
	case p.holds == w.Filter:
		return 0
	case p.holds != "":
		cost = costTaken
	}
	switch {
	case here && w.Fixed:
		return costNever
	case here:
		cost += costMove
	}
	return cost + far
}

// distances returns a function that reports how far slot p is from the best place for
// filter j: next to filters that are present, so that spares stay on the outside; in a new
// listener, where its spares say.
func distances(chain []place, wanted resource.Chain, spares resource.Spares) func(j, p int) int64 {
	var taken []int
	for p := range chain {
		if slices.ContainsFunc(wanted, func(w resource.Wanted) bool { return w.Filter == chain[p].holds }) {
			taken = append(taken, p)
		}
	}
	if len(taken) == 0 {
		gaps := make([]int, len(chain))
		for p := range chain {
			gaps[p] = chain[p].gap
		}
		best := wanted.Spread(gaps, spares)
		return func(j, p int) int64 { return int64(max(p-best[j], best[j]-p)) }
	}
	return func(_, p int) int64 {
		i, _ := slices.BinarySearch(taken, p)
		d := math.MaxInt32
		if i < len(taken) {
			d = taken[i] - p
		}
		if i > 0 {
			d = min(d, p-taken[i-1])
		}
		return int64(d)
	}
}

// change is the new content of one slot.
type change struct {
	place  int
	filter string // "": nothing
}

// advance is the next step toward the wanted chain.
type advance struct {
	fits    bool
	changes []change
	// lacking are wanted filters that are not present and can't be put in place yet.
	lacking []string
	// shut are places that routes must mention for a filter before it, which is ready, can
	// enter.
	shut []change
	// leaving are the places of filters that must leave once nothing else is left to do.
	leaving []int
}

// next returns the next step. ready reports which filters can be put in place.
func next(chain []place, wanted resource.Chain, spares resource.Spares, ready func(filter string) bool) advance {
	at, ok := assign(chain, wanted, spares)
	if !ok {
		return advance{}
	}
	c := course{chain: chain, wanted: wanted, at: at, ready: ready}
	if a := c.fill(); len(a.changes) > 0 {
		return a
	}
	if a, moving := c.move(); moving {
		return a
	}
	return c.settle()
}

// reachable reports whether all wanted filters can enter the chain, step by step.
func reachable(chain []place, wanted resource.Chain, spares resource.Spares) bool {
	chain = slices.Clone(chain)
	for range 4*len(chain) + 4 {
		a := next(chain, wanted, spares, func(string) bool { return true })
		if !a.fits {
			return false
		}
		if len(a.changes)+len(a.shut) == 0 {
			return true
		}
		for _, ch := range a.shut {
			chain[ch.place].only = ch.filter
		}
		for _, ch := range a.changes {
			chain[ch.place].holds, chain[ch.place].filled = ch.filter, true
		}
	}
	return false
}

// course is a chain with the places of the wanted filters.
type course struct {
	chain  []place
	wanted resource.Chain
	at     []int // place of each wanted filter
	ready  func(filter string) bool
}

// here reports whether a filter is anywhere in the chain.
func (c *course) here(filter string) bool {
	return slices.ContainsFunc(c.chain, func(p place) bool { return p.holds == filter })
}

// inPlace reports whether a wanted filter is in its place.
func (c *course) inPlace(j int) bool { return c.chain[c.at[j]].holds == c.wanted[j].Filter }

// spent reports whether a slot holds another copy of a filter that is in its place.
func (c *course) spent(p int) bool {
	j := slices.IndexFunc(c.wanted, func(w resource.Wanted) bool { return w.Filter == c.chain[p].holds })
	return j >= 0 && c.at[j] != p && c.inPlace(j)
}

// fill fills the slots that a listener waits for, which serves nobody until then.
func (c *course) fill() advance {
	a := advance{fits: true}
	for p := range c.chain {
		if c.chain[p].filled {
			continue
		}
		j := slices.Index(c.at, p)
		switch {
		case j < 0:
			a.changes = append(a.changes, change{p, ""})
		case c.ready(c.wanted[j].Filter):
			a.changes = append(a.changes, change{p, c.wanted[j].Filter})
		default:
			a.lacking = append(a.lacking, c.wanted[j].Filter)
		}
	}
	return a
}

// move copies present filters to their places, and leaves the old copies for now. It first
// uses free slots, all at once; then, one at a time, slots with another copy of a filter
// that has already moved.
func (c *course) move() (a advance, moving bool) {
	a.fits = true
	for j, w := range c.wanted {
		if !c.here(w.Filter) || c.inPlace(j) {
			continue
		}
		moving = true
		if p := c.at[j]; c.chain[p].holds == "" {
			a.changes = append(a.changes, change{p, w.Filter})
		}
	}
	if !moving || len(a.changes) > 0 {
		return a, moving
	}
	for j, w := range c.wanted {
		p := c.at[j]
		if !c.here(w.Filter) || c.inPlace(j) || !c.spent(p) {
			continue
		}
		after := slices.Clone(c.chain)
		after[p].holds = w.Filter
		if inOrder(after, c.wanted) {
			a.changes = append(a.changes, change{p, w.Filter})
			return a, true
		}
	}
	return advance{}, true // impossible in these slots
}

// settle adds new filters, and removes old copies of those that have moved.
func (c *course) settle() advance {
	a := advance{fits: true}
	for j, w := range c.wanted {
		p := c.at[j]
		switch {
		case c.inPlace(j):
		case !c.ready(w.Filter):
			a.lacking = append(a.lacking, w.Filter)
		case w.Some && c.chain[p].guarded && c.chain[p].only != w.Filter && !c.here(w.Filter):
			a.lacking = append(a.lacking, w.Filter)
			if c.chain[p].holds == "" { // otherwise the copy of a moved filter must leave first
				a.shut = append(a.shut, change{p, w.Filter})
			}
		default:
			a.changes = append(a.changes, change{p, w.Filter})
		}
	}
	for p := range c.chain {
		switch {
		case c.chain[p].holds == outsider:
			a.leaving = append(a.leaving, p)
		case c.spent(p) && !slices.ContainsFunc(a.changes, func(ch change) bool { return ch.place == p }):
			a.changes = append(a.changes, change{p, ""})
		}
	}
	return a
}

// inOrder reports whether the wanted filters that are in the chain are in their order,
// possibly some of them more than once.
func inOrder(chain []place, wanted resource.Chain) bool {
	from := 0
	for _, w := range wanted {
		if !slices.ContainsFunc(chain, func(p place) bool { return p.holds == w.Filter }) {
			continue
		}
		i := slices.IndexFunc(chain[from:], func(p place) bool { return p.holds == w.Filter })
		if i < 0 {
			return false
		}
		from += i + 1
	}
	return true
}
