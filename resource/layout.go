package resource

import (
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// A listener has slots of its own in its lists of HTTP filters, and in its filter
// chains where network filters are attached to it, some of them spare. Which filter a
// slot holds is not for the listener to say: a filter that is added, moved or removed
// is put into a slot, or taken out, by ECDS, on every connection that is open, and the
// listener stays as it is.
//
// How many slots there are, and between which of the listener's other filters,
// is its layout. The version of a listener ends with it, so that any
// xds-server, whatever its --spare-slots, knows the slots of an Envoy that
// comes to it.

// SlotPrefix begins the names of such slots. Behind it are the name of the
// listener, an id of it in this very version and layout, and a number: slots of
// a listener that is drained are never those of its successor.
const SlotPrefix = definition.SlotPrefix

// Layout is a listener in one layout.
type Layout struct {
	Version string
	ID      string   // of the version, in names of slots and routes
	Chains  [][]Slot // for each Chain of the listener; in order
	Lua     bool     // its slots take Lua filters as well as Wasm filters
	Slots   []string // names of all its slots for Wasm filters, also of those that people named; sorted
	Routes  string   // name of its route configuration; "": it is a raw one

	resource func() *Resource
}

// Slot is one of a listener's own.
type Slot struct {
	Name string
	Gap  int // it stands before this one of the other filters in its list
}

// Resource is the listener in this layout.
func (l *Layout) Resource() *Resource { return l.resource() }

// IDOf stands for a listener's version, with its layout, in names of its slots and
// routes.
func IDOf(version string) string { return VersionOf([]byte(version))[:8] }

func slotName(listener, id string, number int) string {
	return SlotPrefix + listener + "/" + id + "/" + strconv.Itoa(number)
}

// SlotOf finds the listener whose slot this is, and the listener's id.
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

// counts are the slots in each gap of each distinct list, and a generation,
// which tells apart layouts that have as many.
type counts struct {
	lists [][]int // first of HTTP filters
	http  int     // how many lists these are
	again int
	lua   bool // see Layout.Lua
}

// luaCounts begins the text of a layout whose slots take Lua filters. A listener
// gets slots for Wasm filters alone, as it always did, where nobody uses Lua.
const luaCounts = "lua:"

// String is as a version has it: gaps apart by "-", lists by ",". Lists of
// network filters are behind an "n", if any of them has a slot.
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

// Bounds of what an Envoy may say that it has.
const (
	maxSlots = 1024 // of a listener, whatever it is to have
	minSlots = 256  // may always be
	maxAgain = 256
)

// MaxSlots is how many slots of its own an Envoy may say that the listener has,
// of which there is a content to make for each: more than it gets from a server
// with more spares, or with filters that are gone by now.
func (l *Listener) MaxSlots() int { return min(maxSlots, max(minSlots, 4*l.counts.slots())) }

// parseCounts reads what String wrote, for the lists of a listener; false for
// anything else.
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

// none is no slot in any gap.
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

// In is the listener in another layout, which the version of it that an Envoy
// has tells; nil where that is not this listener.
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

// Fresh is the listener in the layout that it is to have where names of its slots
// and routes are in use: the default one, or the next that is like it.
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

// Poorer tells whether a layout has fewer slots somewhere than a new one would.
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

// counts are those of a listener that has these filters to hold.
func (l *listener) counts(chains []Chain, spares Spares, lua bool) counts {
	c := counts{http: len(l.lists)}
	idle := !l.spares && !slices.ContainsFunc(chains[c.http:], func(c Chain) bool { return len(c) > 0 })
	for i, of := range l.all() {
		gaps := make([]int, of.gaps())
		if i >= c.http && idle {
			c.lists = append(c.lists, gaps) // no listener changes for what nobody uses
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

// layout lays the listener out. Its bytes are made when somebody needs them.
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

// with is the listener with the slots of a layout, and the name of its routes.
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
		panic(err) // newListener has unpacked the same, and what is new are slots
	}
	l.withNetworkSlots(m, out.Chains[len(l.lists):])
	r, err := New(ListenerType, l.bare.Name, m)
	if err != nil {
		panic(err) // likewise
	}
	r.Version = out.Version
	return r
}

// laidOut is a chain of filters, which may be of either kind, with slots.
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

// Empty is what a slot holds that holds no filter: one that does nothing.
func Empty(slot string) *Resource {
	empty := nothing
	if IsNetworkSlot(slot) {
		empty = networkNothing
	}
	r, err := empty(slot)
	if err != nil {
		panic(err) // a constant but for its name
	}
	r.Version = EmptyVersion
	return r
}

// Empties make each Empty once for all who ask while any of them has it. The zero
// value is usable.
type Empties struct{ made shared[string, Resource] }

// In is the Empty of a slot.
func (e *Empties) In(slot string) *Resource {
	return e.made.get(slot, func() *Resource { return Empty(slot) })
}

// EmptyVersion is the version of what does nothing, in a listener's own slot.
var EmptyVersion = meaningOf("no filter").version()
