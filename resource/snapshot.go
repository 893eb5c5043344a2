package resource

import (
	"strings"
	"sync/atomic"

	"wasmxds/definition"
)

// Snapshot is all resources of a group of nodes. Nodes that match the same
// definitions share one pointer. It is immutable.
type Snapshot struct {
	Clusters  []*Resource // by name, as are all below
	Endpoints []*Resource
	Secrets   []*Resource
	Routes    []*Resource // without the gate
	Listeners []*Listener // without the primer
	Filters   []*Filter   // all Wasm and Lua filters of the group; primed, then swapped
	Standbys  []*Filter   // versions that a change replaces; see [Filter.Standby]
	Static    []*Resource // extension configurations that need no priming
	Services  []*Service  // that its Envoys should have from their bootstraps

	// ModuleServer is the name of the cluster that mirrored modules are fetched
	// from. "": none.
	ModuleServer string

	Primer *Listener // its slots are the twins of filters and standbys; nil: there are none
	Gate   *Resource // the route configuration that the primer waits for

	found atomic.Pointer[filterIndex]
	with  shared[string, Snapshot] // see With

	without *Snapshot // the same Snapshot without Standbys, kept for when the change is done
	opts    Options
}

// filterIndex is an index of the filters of a snapshot.
type filterIndex struct {
	byName, byID map[string]*Filter
	loggers      map[string]bool // by name; nil: none
}

func (s *Snapshot) filters() *filterIndex {
	if index := s.found.Load(); index != nil {
		return index
	}
	index := &filterIndex{byName: make(map[string]*Filter, len(s.Filters)+len(s.Standbys)), byID: make(map[string]*Filter, len(s.Filters))}
	for _, f := range s.Filters {
		index.byName[f.Name], index.byID[f.ID] = f, f
	}
	for _, f := range s.Standbys {
		index.byName[f.Name] = f
	}
	for _, l := range s.Listeners {
		for _, name := range l.Loggers {
			if index.loggers == nil {
				index.loggers = map[string]bool{}
			}
			index.loggers[name] = true
		}
	}
	s.found.Store(index)
	return index
}

// Filter returns a filter or a standby of the snapshot, or nil if there is
// none.
func (s *Snapshot) Filter(name string) *Filter { return s.filters().byName[name] }

// FilterByID returns a filter of the snapshot, or nil if there is none.
func (s *Snapshot) FilterByID(id string) *Filter { return s.filters().byID[id] }

// HasLoggers reports whether any listener of the snapshot should have access
// loggers.
func (s *Snapshot) HasLoggers() bool { return len(s.filters().loggers) > 0 }

// IsLogger reports whether any listener of the snapshot should have this access
// logger.
func (s *Snapshot) IsLogger(filter string) bool { return s.filters().loggers[filter] }

// Upstream returns the cluster of an upstream by its name, even if no route of
// the snapshot refers to it. It returns nil if the name is not one of an
// upstream's cluster.
func (s *Snapshot) Upstream(name string) *Resource {
	u, ok := definition.UpstreamOf(name)
	if !ok {
		return nil
	}
	c, _, err := s.opts.upstream(u)
	if err != nil || c.Name != name {
		return nil
	}
	return c
}

// With returns s with other versions of its filters. There must be as many
// filters, in the same order. All callers share one result as long as somebody
// references it.
func (s *Snapshot) With(filters []*Filter) *Snapshot {
	var versions strings.Builder
	for _, f := range filters {
		versions.WriteString(f.Version)
		versions.WriteByte(' ')
	}
	return s.with.get(versions.String(), func() *Snapshot {
		return &Snapshot{
			Clusters: s.Clusters, Endpoints: s.Endpoints, Secrets: s.Secrets, Routes: s.Routes, Listeners: s.Listeners,
			Filters: filters, Standbys: s.Standbys, Static: s.Static, Services: s.Services, ModuleServer: s.ModuleServer, Primer: s.Primer, Gate: s.Gate, opts: s.opts,
		}
	})
}

// PrimerListener and GateRoute are names in every Envoy that has filters.
const (
	PrimerListener = definition.PrimerListener
	GateRoute      = TwinPrefix + "gate"
	TwinPrefix     = definition.TwinPrefix // followed by a filter's name: its slot in the primer
	luaMark        = definition.LuaMark
)

// Listener is a listener and the filters, or twins, that it has slots for.
type Listener struct {
	*Resource          // in its default layout
	Slots     []string // names of its slots in that layout, sorted
	Base      string   // version without the layout

	// RoutesName is the name of its route configuration in that layout. "": a
	// raw listener.
	RoutesName string
	RoutesBase string // version of its routes, without [Mentions]

	// Static are the names of its slots for other extensions, sorted: Envoy
	// waits for their contents, too, and may reject them.
	Static []string

	Chains  []Chain  // what its own slots must hold
	Filters []string // names of the filters in the Chains, chain by chain
	Routes  []string // names of the route configurations that a raw listener refers to
	Spares  Spares   // how filters are initially spread over its own slots

	// Loggers are the names of the Wasm access loggers that it should have, in
	// their order. Logging determines which ones it has.
	Loggers []string

	counts   counts
	treats   treats    // of filters that do not run on all routes, by their ids
	compiled *listener // nil: the listener is from an earlier run, and only its bytes are known
	plain    *Listener // without access loggers; nil: it has none
	key      string    // identifies the result of holds
}

// Filter is a Wasm or Lua filter as resources. Its slot is the entry in serving
// listeners, its twin the one in the primer.
type Filter struct {
	Name      string
	TwinName  string // its slot in the primer; see [FilterOf]
	Version   string // called "wanted" in the status
	ID        string // eight hex digits that represent its name in versions of slots
	SHA256    string // of the module; "" if Envoy fetches an unpinned one
	Direct    bool   // Envoy fetches the module from its own URL
	Lua       bool   // a script, for which Envoy fetches nothing
	OnFailure definition.OnFailure
	Network   bool // a network filter

	// Missing, when not empty, is the reason why there is nothing to send yet:
	// the module was never obtained. Slot and Twin must not be called then.
	Missing string
	Coming  bool // xds-server is fetching the module

	ownVersion string // Version and ID

	twin     *Resource // at attempt 0
	noop     *Resource
	twinNoop *Resource
	encode   func(slot string, attempt int) *Resource // one at a time

	made shared[encoding, Resource]

	standby atomic.Pointer[Filter] // see Standby; nil: not requested so far
}

// Slot returns the resource for the serving slot with the name of the filter.
// Each attempt has different bytes with the same meaning. Envoy ignores a
// resource with the same bytes as the last one, even if it rejected that, so a
// push after a NACK must differ from the one before.
func (f *Filter) Slot(attempt int) *Resource { return f.In(f.Name, attempt) }

// Twin returns the resource for the slot in the primer.
func (f *Filter) Twin(attempt int) *Resource { return f.In(f.TwinName, attempt) }

// twinName returns the name of a filter's twin. The twins of a Lua filter and
// of a Wasm filter of the same name have different names: a slot accepts one
// kind as long as its listener exists, and a primer that is replaced is drained
// first.
func twinName(filter string, lua bool) string {
	if lua {
		return TwinPrefix + luaMark + filter
	}
	return TwinPrefix + filter
}

// FilterOf returns the name of the filter that a twin, or a slot with the
// filter's own name, belongs to.
func FilterOf(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, TwinPrefix), luaMark)
}

// encoding identifies one of the filter's contents.
type encoding struct {
	slot    string
	attempt int
}

// VersionIn returns the version of the filter's content in a slot. In a slot
// that may hold any filter, the version identifies the filter as well.
func (f *Filter) VersionIn(slot string) string {
	if strings.HasPrefix(slot, SlotPrefix) {
		return f.ownVersion
	}
	return f.Version
}

// CutVersion is the inverse of VersionIn, for a slot that may hold any filter.
func CutVersion(in string) (version, id string) {
	version, id, _ = strings.Cut(in, "-")
	return version, id
}

// In returns the resource for any slot. All callers share one result as long as
// somebody references it: after a restart of this server, a fleet reports
// hundreds of attempts, each for a moment.
func (f *Filter) In(slot string, attempt int) *Resource {
	if attempt == 0 && slot == f.TwinName {
		return f.twin
	}
	return f.made.get(encoding{slot, attempt}, func() *Resource { return f.encode(slot, attempt) })
}

// Noop returns what the slot of a filter with OnFailure Open holds while the
// filter can't be primed: a filter that does nothing. It returns nil for other
// filters.
func (f *Filter) Noop() *Resource { return f.noop }

// TwinNoop returns the same for the twin of any filter.
func (f *Filter) TwinNoop() *Resource { return f.twinNoop }
