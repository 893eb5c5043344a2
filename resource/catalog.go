package resource

import (
	"slices"
	"sync"
	"sync/atomic"

	"wasmxds/definition"
)

// Catalog is a compiled set of definitions, together with variants of it that
// include the changes of a [Choice]. It provides the snapshot of every node. It
// is safe for concurrent use, and its answers never change.
type Catalog struct {
	opts Options
	*lineage
	moduleServer *Resource // cluster of the module server
	base         *view
	choices      map[Choice]*view // all except the base
	standby      map[Choice]bool
	pairs        map[*definition.Listener]*Pair
	compiled     int // number of entries that were compiled anew
}

// lineage is the state shared by Catalogs that were compiled from each other.
type lineage struct {
	ids     atomic.Uint32 // source of the ids of holdings
	gate    *Resource
	primers *memo[*Listener] // by the filters in them
	groups  *groups          // by the ids of the holdings that match
}

func newCatalog(opts Options, of *lineage) *Catalog {
	return &Catalog{opts: opts, lineage: of, base: newView(nil), choices: map[Choice]*view{}}
}

func newLineage() *lineage {
	return &lineage{gate: gate(), primers: new(memo[*Listener]), groups: newGroups()}
}

// view returns the view of a choice, or the base if the choice is unknown.
func (c *Catalog) view(choice Choice) *view {
	if v := c.choices[choice]; v != nil {
		return v
	}
	return c.base
}

// Has reports whether the Catalog has a choice. It always has the base.
func (c *Catalog) Has(choice Choice) bool { return choice == "" || c.choices[choice] != nil }

// Snapshot returns all resources of node n with the changes of a choice, or
// those of the base if this Catalog does not have the choice. Nodes with the
// same content get the same pointer, whatever their choices, and the pointer
// stays the same from Catalog to Catalog as long as the content does. The first
// caller builds the Snapshot, without blocking those that ask for others. It is
// kept as long as somebody references it.
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

// group returns the Snapshot of the nodes that exactly these holdings match.
func (c *Catalog) group(matched []*holding) *Snapshot {
	return c.groups.get(groupName(matched), func() *Snapshot { return c.build(matched) })
}

// memo caches values by key, and builds each once. Callers for other keys do
// not wait. It is cleared when it is full, so that a list that keeps changing
// does not make it grow without bound.
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
