package resource

import (
	"strings"
	"sync/atomic"

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
	Filters   []*Filter   // every Wasm or Lua filter of the group, primed and then swapped
	Standbys  []*Filter   // versions that a change replaces; see [Filter.Standby]
	Static    []*Resource // extension configurations that need no priming
	Services  []*Service  // that its Envoys are to have from their bootstraps

	// ModuleServer is the name of the cluster that mirrored modules come from;
	// "": there is none.
	ModuleServer string

	Primer *Listener // its slots are the twins of filters and standbys; nil where there are none
	Gate   *Resource // the route configuration that the primer waits for

	found atomic.Pointer[filterIndex]
	with  shared[string, Snapshot] // see With

	without *Snapshot // the same without Standbys, kept for when the change is done
	opts    Options
}

// filterIndex finds the filters of a snapshot.
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

// Filter finds a filter, or a standby, of the snapshot; nil where there is none.
func (s *Snapshot) Filter(name string) *Filter { return s.filters().byName[name] }

// FilterByID finds a filter of the snapshot; nil where there is none.
func (s *Snapshot) FilterByID(id string) *Filter { return s.filters().byID[id] }

// HasLoggers tells whether some listener of the snapshot is to have access loggers, and
// IsLogger whether some is to have this one.
func (s *Snapshot) HasLoggers() bool { return len(s.filters().loggers) > 0 }

// IsLogger: see HasLoggers.
func (s *Snapshot) IsLogger(filter string) bool { return s.filters().loggers[filter] }

// Upstream is the cluster of an upstream by its name, whether any route of the
// snapshot leads to it or not; nil where the name is none of those.
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

// With is s with other versions of its filters: as many, in the same order. It is
// the same one for all who ask while any of them has it.
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
	TwinPrefix     = definition.TwinPrefix // + filter name: its slot in the primer
	luaMark        = definition.LuaMark
)

// Listener is a listener and the filters, or twins, it has slots for.
type Listener struct {
	*Resource          // in the layout that it gets where none is in use
	Slots     []string // names of its slots in that layout, sorted
	Base      string   // the version without the layout

	// RoutesName is the name of its route configuration in that layout; "": it is a
	// raw one.
	RoutesName string
	RoutesBase string // its version, but for [Mentions]

	// Static are its slots for extensions of other kinds, sorted: Envoy waits
	// for their contents, too, and may refuse them.
	Static []string

	Chains  []Chain  // what its own slots are to hold
	Filters []string // names of those in the Chains, one after the other
	Routes  []string // names of the route configurations that a raw one asks for
	Spares  Spares   // where its own slots are spread as these say at first

	// Loggers are the names of the Wasm access loggers that it is to have, in their
	// order. Which ones it has is for Logging to say.
	Loggers []string

	counts   counts
	treats   treats    // of filters, by their ids, that not all routes have
	compiled *listener // nil: of an earlier run, known by its bytes alone
	plain    *Listener // without access loggers; nil: it has none
	key      string    // tells apart what holds has made
}

// Filter is a Wasm or Lua filter as resources. Its slot is the entry in the serving
// listeners, its twin the one in the primer.
type Filter struct {
	Name      string
	TwinName  string // its slot in the primer; see [FilterOf]
	Version   string // what status calls "wanted"
	ID        string // eight hex digits that stand for its name in versions of slots
	SHA256    string // of the module; "" where Envoy fetches an unpinned one
	Direct    bool   // Envoy fetches from the module's own URL
	Lua       bool   // it is a script: there is nothing that Envoy would fetch
	OnFailure definition.OnFailure
	Network   bool // a network filter

	// Missing, when not empty, says why there is nothing to send yet: its
	// module was never had. Slot and Twin must not be called then.
	Missing string
	Coming  bool // xds-server is getting it

	ownVersion string // Version and ID

	twin     *Resource // at attempt 0
	noop     *Resource
	twinNoop *Resource
	encode   func(slot string, attempt int) *Resource // one at a time

	made shared[encoding, Resource]

	standby atomic.Pointer[Filter] // see Standby; nil: nobody has asked for it
}

// Slot is the resource for the serving slot that people named like the filter.
// Each attempt has other bytes of the same meaning: Envoy takes the same bytes
// as last time for something it has already, even when it refused them, so a
// push after a NACK must differ from the one before.
func (f *Filter) Slot(attempt int) *Resource { return f.In(f.Name, attempt) }

// Twin is the resource for the slot in the primer.
func (f *Filter) Twin(attempt int) *Resource { return f.In(f.TwinName, attempt) }

// twinName is the name of a filter's twin. That of a Lua filter is another than the
// twin of a Wasm filter of its name: a slot that was for one kind stays so for as
// long as the listener that has it, and a primer that is replaced is drained first.
func twinName(filter string, lua bool) string {
	if lua {
		return TwinPrefix + luaMark + filter
	}
	return TwinPrefix + filter
}

// FilterOf is the name of the filter whose twin, or slot of that name, this is.
func FilterOf(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, TwinPrefix), luaMark)
}

// encoding is one of the filter's contents.
type encoding struct {
	slot    string
	attempt int
}

// VersionIn is the version that the filter's content has in a slot: in one that
// may hold any filter it tells which it is.
func (f *Filter) VersionIn(slot string) string {
	if strings.HasPrefix(slot, SlotPrefix) {
		return f.ownVersion
	}
	return f.Version
}

// CutVersion is the opposite of VersionIn, for a slot that may hold any filter.
func CutVersion(in string) (version, id string) {
	version, id, _ = strings.Cut(in, "-")
	return version, id
}

// In is the resource for any slot. It is the same one for all who ask while any
// of them has it: after a restart of this server a fleet brings hundreds of
// attempts, each of them for a moment.
func (f *Filter) In(slot string, attempt int) *Resource {
	if attempt == 0 && slot == f.TwinName {
		return f.twin
	}
	return f.made.get(encoding{slot, attempt}, func() *Resource { return f.encode(slot, attempt) })
}

// Noop is what the slot of a filter with OnFailure Open holds while the filter
// can't be primed: a filter that does nothing. Nil for others.
func (f *Filter) Noop() *Resource { return f.noop }

// TwinNoop is the same for the twin of any filter.
func (f *Filter) TwinNoop() *Resource { return f.twinNoop }
