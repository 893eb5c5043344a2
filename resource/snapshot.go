package resource

import (
	"maps"
	"sync"
	"weak"

	"wasmxds/definition"
)

// Snapshot is all that a group of nodes is to have. Nodes that match the same
// definitions share one, pointer and all. Immutable.
type Snapshot struct {
	Clusters  []*Resource // by name, as all below
	Endpoints []*Resource
	Secrets   []*Resource
	Routes    []*Resource // without the gate
	Listeners []*Listener // without the primer
	Filters   []*Filter   // every Wasm filter of the group, primed and then swapped
	Static    []*Resource // extension configurations that need no priming

	// ModuleServer is the name of the cluster that mirrored modules come from;
	// "": there is none.
	ModuleServer string

	Primer *Listener // its slots are the filters' twins; nil where there are no filters
	Gate   *Resource // the route configuration that the primer waits for
}

// PrimerListener and GateRoute are names in every Envoy that has filters.
const (
	PrimerListener = "primer"
	GateRoute      = "primer/gate"
	TwinPrefix     = "primer/" // + filter name: its slot in the primer
)

// Listener is a listener and the Wasm filters, or twins, it has slots for.
type Listener struct {
	*Resource
	Slots []string // names, sorted

	// Static are its slots for extensions of other kinds, sorted: Envoy waits
	// for their contents, too, and may refuse them.
	Static []string
}

// Filter is a Wasm filter as resources. Its slot is the entry in the serving
// listeners, its twin the one in the primer.
type Filter struct {
	Name      string
	TwinName  string // TwinPrefix and Name
	Version   string // of the slot's content at attempt 0; what status calls "wanted"
	SHA256    string // of the module; "" where Envoy fetches an unpinned one
	Direct    bool   // Envoy fetches from the module's own URL
	OnFailure definition.OnFailure

	// Missing, when not empty, says why there is nothing to send yet: its
	// module was never had. Slot and Twin must not be called then.
	Missing string
	Coming  bool // xds-server is getting it

	slot, twin *Resource // at attempt 0
	noop       *Resource
	twinNoop   *Resource
	encode     func(first *Resource, attempt int) *Resource

	mu    sync.Mutex
	again map[encoding]weak.Pointer[Resource] // slot and twin at other attempts, while they are needed
}

// Slot is the resource for the serving slot. Each attempt has other bytes of
// the same meaning: Envoy takes the same bytes as last time for something it
// has already, even when it refused them, so a push after a NACK must differ
// from the one before.
func (f *Filter) Slot(attempt int) *Resource { return f.at(attempt, f.slot) }

// Twin is the resource for the slot in the primer.
func (f *Filter) Twin(attempt int) *Resource { return f.at(attempt, f.twin) }

// encoding is one of first's contents.
type encoding struct {
	first   *Resource // slot or twin, at attempt 0
	attempt int
}

// at gives the same Resource to all who ask while any of them has it: after a
// restart of this server a fleet brings hundreds of attempts, each of them for
// a moment.
func (f *Filter) at(attempt int, first *Resource) *Resource {
	if attempt == 0 {
		return first
	}
	key := encoding{first, attempt}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r := f.again[key].Value(); r != nil {
		return r
	}
	maps.DeleteFunc(f.again, func(_ encoding, r weak.Pointer[Resource]) bool { return r.Value() == nil })
	if f.again == nil {
		f.again = map[encoding]weak.Pointer[Resource]{}
	}
	r := f.encode(first, attempt)
	f.again[key] = weak.Make(r)
	return r
}

// Noop is what the slot of a filter with OnFailure Open holds while the filter
// can't be primed: a filter that does nothing. Nil for others.
func (f *Filter) Noop() *Resource { return f.noop }

// TwinNoop is the same for the twin of any filter.
func (f *Filter) TwinNoop() *Resource { return f.twinNoop }
