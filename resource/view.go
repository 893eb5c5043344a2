package resource

import (
	"cmp"
	"encoding/binary"
	"slices"

	"wasmxds/definition"
	"wasmxds/module"
)

// view is one compiled set. It is immutable and depends only on the set, so
// that a set that is unchanged, or that moves to another choice, keeps its
// view.
type view struct {
	set       *module.Set
	entries   map[any]*catalogEntry // by pointer of the definition
	byKey     map[key]*catalogEntry
	selectors map[string]*selector
	holdings  map[*selector]*holding
	all       *index // index of all selectors
	problems  []definition.Problem
	pairs     pairs // of its listeners with TLS
}

func newView(set *module.Set) *view {
	return &view{
		set:       set,
		entries:   make(map[any]*catalogEntry),
		byKey:     make(map[key]*catalogEntry),
		selectors: make(map[string]*selector),
		holdings:  make(map[*selector]*holding),
		all:       newIndex(nil),
	}
}

// holding is what one selector provides to the nodes that it matches. Views
// with equal holdings share one, so that the ids of all holdings that match a
// node identify its content.
type holding struct {
	id        uint32
	filters   []*filter
	services  []*service
	listeners []*listener
	raws      []*raw
}

func (v *view) contents(s *selector) *holding {
	h := v.holdings[s]
	if h == nil {
		h = new(holding)
		v.holdings[s] = h
	}
	return h
}

func (h *holding) put(e *catalogEntry) {
	switch p := e.part.(type) {
	case *filter:
		h.filters = append(h.filters, p)
	case *service:
		h.services = append(h.services, p)
	case *listener:
		h.listeners = append(h.listeners, p)
	case *raw:
		h.raws = append(h.raws, p)
	}
}

// sort makes holdings with the same parts equal.
func (h *holding) sort() {
	slices.SortFunc(h.filters, func(a, b *filter) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(h.services, func(a, b *service) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(h.listeners, func(a, b *listener) int { return cmp.Compare(a.bare.Name, b.bare.Name) })
	slices.SortFunc(h.raws, func(a, b *raw) int {
		return cmp.Or(cmp.Compare(a.TypeURL, b.TypeURL), cmp.Compare(a.Name, b.Name))
	})
}

func (h *holding) equal(o *holding) bool {
	return slices.Equal(h.filters, o.filters) && slices.Equal(h.services, o.services) && slices.Equal(h.listeners, o.listeners) && slices.Equal(h.raws, o.raws)
}

// match returns the holdings of the selectors that match n, in a fixed order.
func (v *view) match(n definition.Node) []*holding {
	var matched []*holding
	v.all.match(n, func(s *selector) { matched = append(matched, v.holdings[s]) })
	slices.SortFunc(matched, func(a, b *holding) int { return cmp.Compare(a.id, b.id) })
	return slices.Compact(matched)
}

// noHolding is an id that no holding has.
const noHolding = "\x00\x00\x00\x00"

// groupName concatenates the ids of holdings, four bytes each.
func groupName(hs []*holding) string {
	b := make([]byte, 0, 4*len(hs))
	for _, h := range hs {
		b = binary.BigEndian.AppendUint32(b, h.id)
	}
	return string(b)
}

// selectsAs reports whether both views have the same selectors.
func (v *view) selectsAs(o *view) bool {
	if len(v.holdings) != len(o.holdings) {
		return false
	}
	for s := range v.holdings {
		if o.holdings[s] == nil {
			return false
		}
	}
	return true
}
