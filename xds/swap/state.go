package swap

import (
	"slices"
	"strings"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// state is everything that a machine knows. Its methods, in this file and in those of the
// plan, only read; commit.go contains what writes.
type state struct {
	snap     *resource.Snapshot
	interner *Interner
	delta    bool
	known    bool // the Envoy had something when it connected: it is not fresh
	salt     int  // where attempts begin if the Envoy is not fresh
	rand     func() float64
	subs     [Types]sub

	primings []Priming // filters that are not primed yet
	refusals []refusal // other resources that were NACKed
	poisoned []string  // ECDS resources whose newest content was NACKed
	promises []promise // for slots in listeners that were sent and may wait for them
	taken    []string  // listeners that the Envoy took of a response that it rejected; see tookRest
	unknown  []string  // listeners' own slots whose content this Envoy did not list
	lost     []lost
	crashes  []crash       // of filters' VMs
	alarms   []Crash       // that came before it is known what this Envoy has
	stamps   []stamp       // since when each filter runs in its version
	replaced []replacement // listeners that were replaced

	respare    time.Duration // see Options; 0: never
	respareAt  time.Time     // when listeners whose spares are used up are due for replacement
	respareDue bool

	// without contains the access loggers that fail open and were waited for long enough,
	// each between spaces: listeners do without them.
	without string

	sampling uint32 // number of requests per million that the Envoy should report

	drainTime time.Duration // how long Envoy continues with a listener that was replaced

	began   time.Time     // time of the first Step
	nonce   uint32        // of the newest response of any type; 0: none
	lag     time.Duration // between the newest answered response and its answer
	warmEnd time.Time     // until when to wait for listeners that lack a slot's content
	tracked tracked
	at      *standing // see standing; nil: to be determined
}

// sub is the subscription to one type.
type sub struct {
	subscribed bool
	wildcard   bool
	unknown    bool            // it has something that it did not list
	names      *intern.NameSet // nil: no names yet
	have       *acked          // what it has ACKed
	flight     *Response       // sent, and neither ACKed nor NACKed
	nonce      uint32          // of the newest response; 0: none
	sent       time.Duration   // when that was sent, since state.began
}

type stamp struct {
	name string
	at   time.Duration // since state.began
}

// priming returns the Priming of a filter, or nil if the filter is primed or not wanted.
func (v *state) priming(filter string) *Priming {
	for i := range v.primings {
		if v.primings[i].Filter == filter {
			return &v.primings[i]
		}
	}
	return nil
}

func (v *state) refusal(t Type, name string) *refusal {
	for i := range v.refusals {
		if v.refusals[i].typ == t && v.refusals[i].name == name {
			return &v.refusals[i]
		}
	}
	return nil
}

// wantsRefused reports whether the snapshot still wants what was NACKed.
func (v *state) wantsRefused(r refusal) bool {
	want, ok := v.lookup(r.typ, r.name)
	return ok && want.Version == r.version
}

// held reports whether this very version was NACKed and may not be sent yet: never, if it
// has no other encoding (invariant 5).
func (v *state) held(t Type, it item, now time.Time) bool {
	if it.Filter != nil {
		p := v.priming(it.Filter.Name)
		return p != nil && p.Version == it.Filter.Version && now.Before(p.Due)
	}
	r := v.refusal(t, it.Name)
	return r != nil && r.version == it.Version && (r.written || now.Before(r.due))
}

func (v *state) timing(now time.Time) Timing { return Timing{now, v.lag, v.rand} }

// wake returns when to call Step with a Tick; zero: not needed. It includes the time of
// everything that the plan waits for and that no event of the Envoy ends (invariant 8).
func (v *state) wake(now time.Time) time.Time {
	var due time.Time
	soonest := func(t time.Time) {
		if t.After(now) && (due.IsZero() || t.Before(due)) {
			due = t
		}
	}
	var since time.Time // usually they have all begun at once
	gathers := v.gathers(now)
	for i := range v.primings {
		p := &v.primings[i]
		if !p.Due.IsZero() {
			soonest(p.Due)
			if gathers {
				soonest(v.gathered(p))
			}
		}
		if p.Since != since {
			since = p.Since
			soonest(since.Add(patience))
		}
	}
	for i := range v.refusals {
		if r := &v.refusals[i]; !r.written {
			soonest(r.due)
		}
	}
	for i := range v.crashes {
		if v.crashes[i].down {
			soonest(v.crashes[i].due)
		}
	}
	if v.asking(now) {
		soonest(v.askEnd())
	}
	if w := v.warmEnd; (due.IsZero() || w.Before(due)) && v.warming(now) {
		soonest(w)
	}
	if v.respare > 0 && v.placements().poor {
		soonest(v.respareAt)
	}
	if v.mute() || v.namingUnknown(now) {
		soonest(v.began.Add(silence)) // the set of filters that it lacks changes then
	}
	return due
}

// Awaits reports whether this Envoy probably fetches a module and was not seen to have it,
// or is seen downloading it: after the beginning of a download, the machine must also
// receive its end.
func (v *state) Awaits(sha256 string) bool {
	return slices.ContainsFunc(v.primings, func(p Priming) bool { return p.awaits() && p.SHA256 == sha256 })
}

// Awaited returns the modules that this Envoy awaits.
func (v *state) Awaited() []string {
	var sums []string
	for i := range v.primings {
		if p := &v.primings[i]; p.awaits() && !slices.Contains(sums, p.SHA256) {
			sums = append(sums, p.SHA256)
		}
	}
	return sums
}

func (p *Priming) awaits() bool {
	return p.SHA256 != "" && (p.Phase == Pushed && !p.cached || p.Phase == Downloading)
}

// stuck returns the versions of filters that this Envoy rejects although it has their
// modules, or may have them, and of which it runs no other version.
func (v *state) stuck() []string {
	var versions []string
	for i := range v.primings {
		p := &v.primings[i]
		if !p.refused() || !p.here && !p.shared || resource.IsStandby(p.Filter) {
			continue
		}
		if v.runs(v.subs[Extension].have, p.Filter) == "" {
			versions = append(versions, p.Version)
		}
	}
	return versions
}

// filter returns a filter of the snapshot by its name, or nil.
func (v *state) filter(name string) *resource.Filter { return v.snap.Filter(name) }

// listener returns a listener of the snapshot by its name, or nil.
func (v *state) listener(name string) *resource.Listener { return listenerIn(v.snap, name) }

func listenerIn(snap *resource.Snapshot, name string) *resource.Listener {
	i, ok := slices.BinarySearchFunc(snap.Listeners, name, func(l *resource.Listener, n string) int { return strings.Compare(l.Name, n) })
	if !ok {
		return nil
	}
	return snap.Listeners[i]
}

// lookup returns what the snapshot wants for a name.
func (v *state) lookup(t Type, name string) (item, bool) {
	var list []*resource.Resource
	switch t {
	case Route:
		if v.snap.Gate != nil && name == v.snap.Gate.Name {
			return intern.PlainItem(v.snap.Gate), true
		}
		if of, _, own := resource.RoutesOf(name); own {
			if !v.routesKnown(of, name) {
				return item{}, false
			}
			return v.routesOf(of, name)
		}
		list = v.snap.Routes
	case Listener:
		if v.snap.Primer != nil && name == resource.PrimerListener {
			return intern.ListenerItem(v.snap.Primer), true
		}
		l := v.listener(name)
		if l == nil {
			return item{}, false
		}
		return v.wanted(l), true
	case Extension:
		if c, ok := v.placements().contents[name]; ok {
			return v.settledItem(name, c)
		}
		if f := v.filterAt(name); f != nil {
			if f.Missing != "" {
				return item{Name: name, Filter: f}, true
			}
			return filterItem(f, name, 0), true
		}
		if it, ok := v.emptied(name); ok {
			return it, true
		}
		list = v.snap.Static
	case Runtime:
		return v.runtimeLayer(name)
	default:
		list = v.all(t)
	}
	r := named(list, name)
	if r == nil {
		return item{}, false
	}
	it := intern.PlainItem(r)
	it.Written = t == Extension
	return it, true
}

// named returns the resource of a name in a list that is sorted by name, or nil.
func named(list []*resource.Resource, name string) *resource.Resource {
	i, ok := slices.BinarySearchFunc(list, name, func(r *resource.Resource, n string) int { return strings.Compare(r.Name, n) })
	if !ok {
		return nil
	}
	return list[i]
}

// settledItem returns what a listener's own slot should finally hold, or false if it should
// keep what it has.
func (v *state) settledItem(slot string, c content) (item, bool) {
	switch {
	case c.leaving || !c.as && c.filter == nil:
		return v.interner.Empty(slot), true
	case c.as:
		return item{}, false
	case c.filter.Missing != "":
		return item{Name: slot, Filter: c.filter}, true
	}
	return filterItem(c.filter, slot, 0), true
}

// all returns all resources of a type in the snapshot that have a fixed content, except for
// the primer and the gate.
func (v *state) all(t Type) []*resource.Resource { return resourcesIn(v.snap, t) }

func resourcesIn(snap *resource.Snapshot, t Type) []*resource.Resource {
	switch t {
	case Cluster:
		return snap.Clusters
	case Endpoint:
		return snap.Endpoints
	case Secret:
		return snap.Secrets
	case Listener:
		var all []*resource.Resource
		for _, l := range snap.Listeners {
			all = append(all, l.Resource)
		}
		return all
	case Route:
		return snap.Routes
	case Extension:
		return snap.Static
	}
	return nil
}

// every returns all and the primer.
func (v *state) every(t Type) []*resource.Resource {
	all := v.all(t)
	if t == Listener && v.snap.Primer != nil {
		all = append(all, v.snap.Primer.Resource)
	}
	return all
}

// filterItem returns the content of a slot of f, or of its twin, at an attempt.
func filterItem(f *resource.Filter, name string, attempt int) item {
	return item{Name: name, Version: f.VersionIn(name), Res: f.In(name, attempt), Filter: f}
}

func isTwin(name string) bool { return strings.HasPrefix(name, resource.TwinPrefix) }

// twinOf returns the name of a filter's twin; "": the snapshot does not have the filter.
func (v *state) twinOf(filter string) string {
	if f := v.filter(filter); f != nil {
		return f.TwinName
	}
	return ""
}

// filterOf returns the name of the filter of a slot or twin.
func filterOf(name string) string { return resource.FilterOf(name) }

// filterAt returns the filter of a twin, or of a slot that people named, or nil. Slots that
// people named are for Wasm filters only, except on an Envoy whose listeners are not from
// this server.
func (v *state) filterAt(name string) *resource.Filter {
	f := v.filter(filterOf(name))
	if f == nil || isTwin(name) && f.TwinName != name || !isTwin(name) && f.Lua && v.point(f) != name {
		return nil
	}
	return f
}
