package swap

import (
	"math"
	"slices"

	"wasmxds/resource"
)

// A listener's own slots, in a chain of them, are to hold the filters that are
// wanted, in their order. What is here says in which slots, and what to change
// next on the way there, so that in between (invariants 9 and 10)
//
//   - a filter that is there and still wanted never leaves the chain,
//   - the order is one that was wanted: before this change, or after it,
//   - what is no longer wanted leaves when all that is wanted is there.
//
// A filter that moves is therefore there twice for a moment. Several changes
// that are made at once reach requests one after the other, in any order, so each
// set of changes is such that any part of it may be seen.

// place is a slot in a chain.
type place struct {
	gap    int
	holds  string // the filter in it; "": none; outsider: one that is not wanted here
	filled bool   // it has a content, if only what does nothing

	// guarded says that requests come by routes of which it is known which slots they
	// speak of: a filter that is for some routes may go into those only that they
	// mention for it.
	guarded bool
	only    string // the filter that they mention it for: no other may come in; "": any may
}

const outsider = "\x00"

// Costs of having a filter in a slot: what is there stays, spares come first,
// and what is not touched by a change does not move unless it has to.
const (
	costMove  = 1 << 30 // it is in another slot
	costTaken = 1 << 40 // the slot holds another filter that stays
	costNever = math.MaxInt64 / 4
)

// assign finds a slot for each filter that is wanted, the cheapest that keeps
// their order; false: there are too few.
func assign(chain []place, wanted resource.Chain, spares resource.Spares) (at []int, ok bool) {
	n, m := len(chain), len(wanted)
	here := map[string]bool{}
	for _, p := range chain {
		here[p.holds] = true
	}
	far := distances(chain, wanted, spares)
	pinned := map[string]bool{} // where routes mention them
	for _, p := range chain {
		if p.only != "" && here[p.only] {
			pinned[p.only] = true
		}
	}
	// best[j][p] is the least cost of the first j filters in the first p slots.
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
		if best[j][p] != best[j][p-1] { // the last slot that is as cheap is not needed
			j--
			at[j] = p - 1
		}
	}
	return at, true
}

func costOf(p place, w resource.Wanted, here, pinned bool, far int64) int64 {
	var cost int64
	switch {
	case p.gap != w.Gap, p.holds == outsider: // which goes last
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

// distances tell how far a slot is from where a filter would best be: next to
// those that are there, so that spares stay on the outside; in a new listener,
// where its spares say.
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

// change is what one slot is to hold.
type change struct {
	place  int
	filter string // "": nothing
}

// advance is the next step towards what is wanted.
type advance struct {
	fits    bool
	changes []change
	// lacking are wanted filters that are not there and can't be yet.
	lacking []string
	// shut are places that routes have to mention for a filter before it comes in,
	// which is at hand.
	shut []change
	// leaving are the places of filters that are to go once nothing else is to
	// be done.
	leaving []int
}

// next finds the next step. ready tells which filters can be put in place.
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

// reachable tells whether all that is wanted gets into the chain, step by step.
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

// course is a chain, and where in it the wanted filters are to be.
type course struct {
	chain  []place
	wanted resource.Chain
	at     []int // of each that is wanted
	ready  func(filter string) bool
}

// here tells whether a filter is somewhere in the chain.
func (c *course) here(filter string) bool {
	return slices.ContainsFunc(c.chain, func(p place) bool { return p.holds == filter })
}

// inPlace tells whether a wanted filter is where it is to be.
func (c *course) inPlace(j int) bool { return c.chain[c.at[j]].holds == c.wanted[j].Filter }

// spent tells whether a slot holds another copy of a filter that is in its
// place.
func (c *course) spent(p int) bool {
	j := slices.IndexFunc(c.wanted, func(w resource.Wanted) bool { return w.Filter == c.chain[p].holds })
	return j >= 0 && c.at[j] != p && c.inPlace(j)
}

// fill fills slots that a listener waits for, which serves nobody until then.
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

// move puts filters that are there where they are to be, and leaves them where
// they are for now. Free slots come first, all at once; then, one at a time, such
// as hold another copy of what has moved already.
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
	return advance{}, true // it can't be done in these slots
}

// settle puts new filters in, and takes other copies of those that have moved
// out.
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
			if c.chain[p].holds == "" { // else a copy of what has moved goes first
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

// inOrder tells whether the wanted filters that are in the chain are there in
// their order, some of them maybe more than once.
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
