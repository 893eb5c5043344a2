package resource

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// A listener has slots of its own in its lists of HTTP filters, and in its
// filter chains if network filters are attached to it. Some of them are spare.
// The listener does not determine which filter a slot holds: to add, move or
// remove a filter, ECDS fills or empties a slot, on all open connections, while
// the listener stays unchanged.
//
// The layout of a listener is how many slots there are in each gap between its
// other filters. The version of a listener ends with its layout, so that any
// xds-server, whatever its --spare-slots, knows the slots of an Envoy that
// connects to it.

// SlotPrefix begins the names of such slots. It is followed by the name of the
// listener, an id of its version and layout, and a number: a listener that is
// drained and its successor never share slots.
const SlotPrefix = definition.SlotPrefix

// Layout is a listener in one layout.
type Layout struct {
	Version string
	ID      string   // id of the version, in names of slots and routes
	Chains  [][]Slot // slots for each Chain of the listener, in order
	Lua     bool     // its slots accept Lua filters as well as Wasm filters
	Slots   []string // names of all slots for Wasm filters, including those with names given by users; sorted
	Routes  string   // name of its route configuration; "": a raw listener

	resource func() *Resource
}

// Slot is one of a listener's own slots.
type Slot struct {
	Name string
	Gap  int // index of the filter in its list, among those that are not slots, that it stands before
}

// Resource returns the listener in this layout.
func (l *Layout) Resource() *Resource { return l.resource() }

// IDOf returns the id of a listener's version, including its layout, that the
// names of its slots and routes contain.
func IDOf(version string) string { return VersionOf([]byte(version))[:8] }

func slotName(listener, id string, number int) string {
	return SlotPrefix + listener + "/" + id + "/" + strconv.Itoa(number)
}

// SlotOf returns the listener of a slot, and the id of the listener's version.
func SlotOf(slot string) (listener, id string, ok bool) {
	rest, ok := strings.CutPrefix(slot, SlotPrefix)
	if !ok {
		return "", "", false
	}
	rest, _, ok = cutLast(rest)
	if !ok {
		return "", "", false
	}
	return cutLast(rest)
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '/')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

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

// In returns the listener in the layout of a version that an Envoy reports, or
// nil if the version is not one of this listener.
func (l *Listener) In(version string) *Layout {
	base, text, with := strings.Cut(version, "+")
	if l.compiled == nil || base != l.Base {
		return nil
	}
	c, ok := l.counts, true
	switch {
	case !with:
		c = counts{lists: none(l.compiled.all()), http: len(l.compiled.lists)}
	case text != c.String():
		c, ok = parseCounts(text, l.compiled)
		ok = ok && c.slots() <= l.MaxSlots()
	}
	if !ok {
		return nil
	}
	if out := l.compiled.layout(c); out.Version == version {
		return out
	}
	return nil
}

// Fresh returns the listener in the layout for an Envoy on which some names of
// slots and routes are in use: the default layout, or the first later
// generation of it without such a name.
func (l *Listener) Fresh(used func(name string) bool) *Layout {
	if l.compiled == nil {
		return nil
	}
	c := l.counts
	for {
		out := l.compiled.layout(c)
		if c.again == maxAgain || !slices.ContainsFunc(out.Slots, used) && !used(out.Routes) {
			return out
		}
		c.again++
	}
}

// Poorer reports whether a layout has fewer slots in some gap than a new one
// would.
func (l *Listener) Poorer(in *Layout) bool {
	for i, gaps := range l.counts.lists {
		for gap, n := range gaps {
			for _, s := range in.Chains[i] {
				if s.Gap == gap {
					n--
				}
			}
			if n > 0 {
				return true
			}
		}
	}
	return false
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

// layout returns the listener in a layout. The resource is only encoded when it
// is needed.
func (l *listener) layout(c counts) *Layout {
	text := c.String()
	return l.layouts.get(text, func() *Layout {
		out := &Layout{Version: l.bare.Version, Slots: slices.Clone(l.own), Lua: c.lua}
		if c.slots()+c.again > 0 {
			out.Version += "+" + text
		}
		out.ID = IDOf(out.Version)
		for i, gaps := range c.lists {
			var chain []Slot
			prefix := SlotPrefix + l.bare.Name + "/" + out.ID + "/"
			if i >= c.http {
				prefix += networkSlot
			}
			for gap, n := range gaps {
				for range n {
					s := Slot{prefix + strconv.Itoa(len(out.Slots)-len(l.own)), gap}
					chain = append(chain, s)
					out.Slots = append(out.Slots, s.Name)
				}
			}
			out.Chains = append(out.Chains, chain)
		}
		slices.Sort(out.Slots)
		if l.routes != nil {
			out.Routes = RoutesPrefix + l.bare.Name + "/" + out.ID
		}
		out.resource = sync.OnceValue(func() *Resource { return l.with(out) })
		return out
	})
}

// with returns the listener with the slots of a layout, and the name of its
// routes.
func (l *listener) with(out *Layout) *Resource {
	m := proto.CloneOf(l.message)
	slot := func(name string) *hcmv3.HttpFilter { return definition.Slot(name, true) }
	if out.Lua {
		slot = definition.AnySlot
	}
	list := 0
	err := changeManagers(m, func(hcm *hcmv3.HttpConnectionManager) {
		if rds := hcm.GetRds(); rds != nil && out.Routes != "" {
			rds.RouteConfigName = out.Routes
		}
		for _, chain := range filterChains(hcm) {
			*chain = laidOut(*chain, out.Chains[l.listOf[list]], slot)
			list++
		}
	})
	if err != nil {
		panic(err) // can't happen: newListener has unpacked the same message, and only slots are new
	}
	l.withNetworkSlots(m, out.Chains[len(l.lists):])
	r, err := New(ListenerType, l.bare.Name, m)
	if err != nil {
		panic(err) // likewise
	}
	r.Version = out.Version
	return r
}

// laidOut inserts slots into a chain of HTTP or network filters.
func laidOut[F any](chain []F, slots []Slot, slot func(name string) F) []F {
	out := make([]F, 0, len(chain)+len(slots))
	for i, f := range chain {
		for len(slots) > 0 && slots[0].Gap == i {
			out = append(out, slot(slots[0].Name))
			slots = slots[1:]
		}
		out = append(out, f)
	}
	return out
}

// Empty returns the content of a slot that holds no filter: one that does
// nothing.
func Empty(slot string) *Resource {
	empty := nothing
	if IsNetworkSlot(slot) {
		empty = networkNothing
	}
	r, err := empty(slot)
	if err != nil {
		panic(err) // can't happen: only the name varies
	}
	r.Version = EmptyVersion
	return r
}

// Empties shares Empty resources between all callers as long as somebody
// references them. The zero value is ready to use.
type Empties struct{ made shared[string, Resource] }

// In returns the Empty of a slot.
func (e *Empties) In(slot string) *Resource {
	return e.made.get(slot, func() *Resource { return Empty(slot) })
}

// Again returns r, which does nothing, in other bytes for each attempt: Envoy ACKs bytes
// that it has rejected, together with others, without applying them.
func (e *Empties) Again(r *Resource, attempt int) *Resource {
	return e.made.get(fmt.Sprintf("%s %s %d", r.Name, r.Version, attempt), func() *Resource { return nothingAgain(r, attempt) })
}

// EmptyVersion is the version of an Empty.
var EmptyVersion = meaningOf("no filter").version()
