package resource

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"sync"

	"wasmxds/definition"
)

// Catalog is a whole set of definitions, compiled: it knows what every node is
// to have. Safe for concurrent use; what it answers never changes.
type Catalog struct {
	opts         Options
	entries      map[any]*catalogEntry // by the pointer of the definition
	byKey        map[key]*catalogEntry
	selectors    map[string]*selector
	holdings     map[*selector]*holding
	all          *index    // of every selector
	moduleServer *Resource // the cluster of the module server
	gate         *Resource
	primers      *memo[*Listener] // by the filters in it
	nextID       uint32
	compiled     int // entries that were not taken over

	fresh   bool   // nothing is known of a Catalog before
	changed *index // selectors whose definitions are not what they were

	groups *groups // by the ids of the selectors that match
}

// holding is what nodes have that one selector matches.
type holding struct {
	filters   []*filter
	listeners []*listener
	raws      []*raw
}

func newCatalog(opts Options) *Catalog {
	return &Catalog{
		opts:      opts,
		entries:   make(map[any]*catalogEntry),
		byKey:     make(map[key]*catalogEntry),
		selectors: make(map[string]*selector),
		holdings:  make(map[*selector]*holding),
		all:       newIndex(nil),
		gate:      gate(),
		primers:   new(memo[*Listener]),
		groups:    newGroups(),
	}
}

func (c *Catalog) contents(s *selector) *holding {
	h := c.holdings[s]
	if h == nil {
		h = new(holding)
		c.holdings[s] = h
	}
	return h
}

func (h *holding) put(e *catalogEntry) {
	switch p := e.part.(type) {
	case *filter:
		h.filters = append(h.filters, p)
	case *listener:
		h.listeners = append(h.listeners, p)
	case *raw:
		h.raws = append(h.raws, p)
	}
}

// Snapshot is all that node n is to have. Nodes that match the same
// definitions get the same pointer, and, as long as none of those changes, the
// same one from Catalog to Catalog. It is built by who asks first, while others
// get theirs, and kept for as long as somebody has it.
func (c *Catalog) Snapshot(n definition.Node) *Snapshot {
	var matched []*selector
	c.all.match(n, func(s *selector) bool {
		matched = append(matched, s)
		return true
	})
	slices.SortFunc(matched, func(a, b *selector) int { return cmp.Compare(a.id, b.id) })
	matched = slices.Compact(matched)
	return c.groups.get(groupName(matched), func() *Snapshot { return c.build(matched) })
}

// Affects says whether node n may get another Snapshot from this Catalog than
// from the one it was compiled after: whether a definition that matches n was
// added, changed or removed. It costs less than asking for the Snapshot.
func (c *Catalog) Affects(n definition.Node) bool {
	affected := c.fresh
	c.changed.match(n, func(*selector) bool {
		affected = true
		return false
	})
	return affected
}

// settle finds what differs from prev, and takes over what doesn't.
func (c *Catalog) settle(prev *Catalog, fresh bool) {
	changed := make(map[*selector]bool)
	compare := func(a, b *Catalog) {
		for k, e := range a.byKey {
			other := b.byKey[k]
			if other == nil || other.part != e.part || other.nodes != e.nodes {
				changed[e.nodes] = e.part != nil || changed[e.nodes]
			}
		}
	}
	compare(c, prev)
	compare(prev, c)

	var touched []*selector
	for s, really := range changed {
		if really {
			touched = append(touched, s)
		}
	}
	c.all, c.changed, c.fresh = prev.all, newIndex(touched), fresh
	if !maps.Equal(c.selectors, prev.selectors) {
		c.all = newIndex(slices.Collect(maps.Values(c.selectors)))
	}

	ids := make(map[uint32]bool, len(touched))
	for _, s := range touched {
		ids[s.id] = true
	}
	c.groups.take(prev.groups, func(name string) bool { return !hasAny(name, ids) })
}

// groupName is the selectors' ids, four bytes each.
func groupName(ss []*selector) string {
	b := make([]byte, 0, 4*len(ss))
	for _, s := range ss {
		b = binary.BigEndian.AppendUint32(b, s.id)
	}
	return string(b)
}

// hasAny says whether one of the ids is in a group's name.
func hasAny(group string, ids map[uint32]bool) bool {
	for i := 0; i < len(group); i += 4 {
		if ids[binary.BigEndian.Uint32([]byte(group[i:i+4]))] {
			return true
		}
	}
	return false
}

// memo remembers what was made for a key, once: who asks for another key does
// not wait for it. It forgets all when it holds too much, so that a list that
// changes for ever doesn't grow it for ever.
type memo[V any] struct {
	mu sync.Mutex
	m  map[string]func() V
}

const memoSize = 4096

func (m *memo[V]) get(key string, build func() V) V { return m.maker(key, build)() }

func (m *memo[V]) maker(key string, build func() V) func() V {
	m.mu.Lock()
	defer m.mu.Unlock()
	if made, ok := m.m[key]; ok {
		return made
	}
	if m.m == nil || len(m.m) >= memoSize {
		m.m = make(map[string]func() V)
	}
	made := sync.OnceValue(build)
	m.m[key] = made
	return made
}
