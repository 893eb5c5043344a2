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

// Is reports whether a version that an Envoy reports is one of this listener, in
// whatever layout and with whatever access loggers.
func (l *Listener) Is(version string) bool { return bareVersion(version) == bareVersion(l.Base) }

func bareVersion(version string) string {
	version, _, _ = strings.Cut(version, "+")
	version, _, _ = strings.Cut(version, loggerMark)
	return version
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
