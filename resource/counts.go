package resource

import (
	"slices"
	"strconv"
	"strings"
)

// counts is the number of slots in each gap of each distinct list, and a
// generation, which distinguishes layouts with the same numbers.
type counts struct {
	lists [][]int // those of HTTP filters first
	http  int     // number of lists of HTTP filters
	again int
	lua   bool // see Layout.Lua
}

// luaCounts begins the text of a layout whose slots accept Lua filters. If Lua
// is not used, a listener only gets slots for Wasm filters, as it always did.
const luaCounts = "lua:"

// String returns the layout as written in versions: gaps are separated by "-",
// lists by ",". Lists of network filters follow an "n", if any of them has a
// slot.
func (c counts) String() string {
	var b strings.Builder
	if c.lua {
		b.WriteString(luaCounts)
	}
	writeLists(&b, c.lists[:c.http])
	if networks := c.lists[c.http:]; sum(networks) > 0 {
		b.WriteString(networkSlot)
		writeLists(&b, networks)
	}
	if c.again > 0 {
		b.WriteByte('~')
		b.WriteString(strconv.Itoa(c.again))
	}
	return b.String()
}

func writeLists(b *strings.Builder, lists [][]int) {
	for i, gaps := range lists {
		if i > 0 {
			b.WriteByte(',')
		}
		for j, n := range gaps {
			if j > 0 {
				b.WriteByte('-')
			}
			b.WriteString(strconv.Itoa(n))
		}
	}
}

func (c counts) slots() int { return sum(c.lists) }

func sum(lists [][]int) int {
	n := 0
	for _, gaps := range lists {
		for _, g := range gaps {
			n += g
		}
	}
	return n
}

// Bounds on what an Envoy may report that it has.
const (
	maxSlots = 1024 // of a listener, whatever its filters
	minSlots = 256  // always allowed
	maxAgain = 256
)

// MaxSlots returns the maximum number of its own slots that an Envoy may report
// for the listener, since content has to be made for each. It allows for
// servers with more spares, and for filters that no longer exist.
func (l *Listener) MaxSlots() int { return min(maxSlots, max(minSlots, 4*l.counts.slots())) }

// parseCounts is the inverse of String, for the lists of a listener. It returns
// false for anything else.
func parseCounts(text string, l *listener) (counts, bool) {
	c := counts{http: len(l.lists)}
	rest, lua := strings.CutPrefix(text, luaCounts)
	c.lua = lua
	numbers, again, generation := strings.Cut(rest, "~")
	if generation {
		n, err := strconv.Atoi(again)
		if err != nil || n < 1 || n > maxAgain {
			return c, false
		}
		c.again = n
	}
	http, network, networks := strings.Cut(numbers, networkSlot)
	if !c.parseLists(http, l.lists) {
		return c, false
	}
	if !networks {
		c.lists = append(c.lists, none(l.networks)...)
	} else if !c.parseLists(network, l.networks) {
		return c, false
	}
	return c, c.String() == text && c.slots()+c.again > 0 && c.slots() <= maxSlots
}

// none returns counts of zero for all gaps.
func none(lists []list) [][]int {
	out := make([][]int, len(lists))
	for i, l := range lists {
		out[i] = make([]int, l.gaps())
	}
	return out
}

func (c *counts) parseLists(text string, lists []list) bool {
	if len(lists) == 0 {
		return text == ""
	}
	each := strings.SplitN(text, ",", len(lists)+1)
	if len(each) != len(lists) {
		return false
	}
	for i, l := range lists {
		gaps := strings.SplitN(each[i], "-", l.gaps()+1)
		if len(gaps) != l.gaps() {
			return false
		}
		var of []int
		for _, g := range gaps {
			n, err := strconv.Atoi(g)
			if err != nil || n < 0 || n > maxSlots {
				return false
			}
			of = append(of, n)
		}
		c.lists = append(c.lists, of)
	}
	return true
}

// counts returns the default counts of a listener with these filters.
func (l *listener) counts(chains []Chain, spares Spares, lua bool) counts {
	c := counts{http: len(l.lists)}
	idle := !l.spares && !slices.ContainsFunc(chains[c.http:], func(c Chain) bool { return len(c) > 0 })
	for i, of := range l.all() {
		gaps := make([]int, of.gaps())
		if i >= c.http && idle {
			c.lists = append(c.lists, gaps) // no listener changes because of an unused feature
			continue
		}
		for j, w := range chains[i] {
			gaps[w.Gap]++
			if j < len(chains[i])-1 {
				gaps[w.Gap] += spares.Between
			}
		}
		gaps[0] += spares.Around
		gaps[len(gaps)-1] += spares.Around
		c.lists = append(c.lists, gaps)
	}
	if c.slots() > maxSlots && spares != (Spares{}) {
		return l.counts(chains, Spares{}, lua)
	}
	c.lua = lua && sum(c.lists[:c.http]) > 0
	return c
}
