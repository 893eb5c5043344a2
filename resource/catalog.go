package resource

import (
	"slices"
	"sync"
	"sync/atomic"

	"wasmxds/definition"
)

// Catalog is a whole set of definitions, compiled, and others that differ from it
// by the changes of a [Choice]: it knows what every node is to have. Safe for
// concurrent use; what it answers never changes.
type Catalog struct {
	opts Options
	*lineage
	moduleServer *Resource // the cluster of the module server
	base         *view
	choices      map[Choice]*view // but for the base
	standby      map[Choice]bool
	pairs        map[*definition.Listener]*Pair
	compiled     int // entries that were not taken over
}

// lineage is what Catalogs share that were compiled one upon the other.
type lineage struct {
	ids     atomic.Uint32 // of holdings
	gate    *Resource
	primers *memo[*Listener] // by the filters in it
	groups  *groups          // by the ids of the holdings that match
}

func newCatalog(opts Options, of *lineage) *Catalog {
	return &Catalog{opts: opts, lineage: of, base: newView(nil), choices: map[Choice]*view{}}
}

func newLineage() *lineage {
	return &lineage{gate: gate(), primers: new(memo[*Listener]), groups: newGroups()}
}

// view is the one of a choice. One that is not known is served as the base.
func (c *Catalog) view(choice Choice) *view {
	if v := c.choices[choice]; v != nil {
		return v
	}
	return c.base
}

// Has says whether a choice is one of this Catalog's. The base always is.
func (c *Catalog) Has(choice Choice) bool { return choice == "" || c.choices[choice] != nil }

// Snapshot is all that node n is to have with the changes of a choice; without
// any, where this Catalog does not know the choice. Nodes that are to have the
// same get the same pointer, whatever their choices, and, as long as none of that
// changes, the same one from Catalog to Catalog. It is built by who asks first,
// while others get theirs, and kept for as long as somebody has it.
func (c *Catalog) Snapshot(n definition.Node, choice Choice) *Snapshot {
	matched := c.view(choice).match(n)
	if !c.standby[choice] {
		return c.group(matched)
	}
	base := c.base.match(n)
	if slices.Equal(base, matched) {
		return c.group(matched)
	}
	return c.groups.get(groupName(matched)+noHolding+groupName(base), func() *Snapshot { return c.standBy(base, matched) })
}

// group is what nodes are to have to which just these holdings belong.
func (c *Catalog) group(matched []*holding) *Snapshot {
	return c.groups.get(groupName(matched), func() *Snapshot { return c.build(matched) })
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
