package swap

import (
	"slices"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// placement is the state of a listener of the snapshot on an Envoy: its layout, and what
// its own slots lack.
type placement struct {
	listener *resource.Listener
	layout   *resource.Layout  // that it should have
	kept     bool              // the Envoy has the listener in that layout
	lacking  []string          // filters that are not in their slots
	fresh    []promise         // if not kept: for the slots that it brings
	unlogged []string          // access loggers that it should have and lacks, or without which it must not be replaced
	routes   []string          // names of the route configurations that it subscribes to
	shut     resource.Mentions // that its routes must have before filters enter those slots
}

// content is what a listener's own slot should hold now.
type content struct {
	filter  *resource.Filter // nil: nothing
	as      bool             // what it has, whatever that is
	leaving bool             // what it has, until everything wanted is in the listener
}

// placements are the placements of all listeners of a snapshot, and the contents of their
// slots.
type placements struct {
	byListener map[string]*placement
	contents   map[string]content  // by slot
	holders    map[string][]string // by filter: the slots that hold it, or should
	drained    map[string][]string // by listener: slots and routes of earlier versions that the Envoy still subscribes to
	routes     map[string]bool     // routes that the Envoy gets
	held       map[layoutKey]map[string]bool
	mentions   map[string]resource.Mentions // by route configuration: those that it should have
	poor       bool                         // a listener has fewer spares than it should
}

// layoutKey identifies a listener in a layout.
type layoutKey struct{ listener, id string }

// placements returns the placements of the listeners and slots that this Envoy has.
func (v *state) placements() *placements { return v.standing().placements.get(v.findPlacements) }

func (v *state) findPlacements() *placements {
	rs := &placements{byListener: map[string]*placement{}, contents: map[string]content{}, holders: map[string][]string{}, drained: map[string][]string{},
		routes: map[string]bool{}, held: map[layoutKey]map[string]bool{}}
	for _, l := range v.snap.Listeners {
		r := v.placementOf(l, rs)
		r.routes = l.Routes
		if r.layout != nil && r.layout.Routes != "" {
			r.routes = append(slices.Clip(l.Routes), r.layout.Routes)
		}
		rs.byListener[l.Name] = r
	}
	v.older(rs)
	rs.mentions = v.findMentions(rs)
	return rs
}

// placementOf determines the layout of a listener, and what must change in its slots. A
// listener that the Envoy has stays while its slots suffice.
func (v *state) placementOf(l *resource.Listener, rs *placements) *placement {
	have, had := v.subs[Listener].have.Find(l.Name)
	loggers, unlogged := v.loggers(l, have.Version)
	l = l.Logging(loggers)
	r := &placement{listener: l, unlogged: unlogged}
	if had {
		r.layout = l.In(have.Version)
	}
	switch {
	case r.layout == nil:
	case !v.subs[Extension].subscribed && len(r.layout.Slots) > 0:
		r.kept = true // the next request lists what its slots hold
		r.lacking = l.Filters
		return r
	case l.Poorer(r.layout) && v.respareDue:
	case v.stays(l, r, rs):
		r.kept = true
		rs.poor = rs.poor || l.Poorer(r.layout)
		return r
	}
	r.layout = l.Fresh(func(name string) bool {
		return v.subs[Extension].names.Has(name) || had && isOwn(name) && slices.Contains(have.Slots, name) || v.subs[Route].names.Has(name)
	})
	r.lacking, r.fresh = l.Filters, v.fresh(r)
	return r
}

// stays reports whether everything wanted fits into the slots that the listener has, and
// records what they should hold.
func (v *state) stays(l *resource.Listener, r *placement, rs *placements) bool {
	wanted, scripts := l.Chains, v.scriptsBeyond(l, r.layout)
	if len(scripts) > 0 {
		if v.scriptsServe(scripts) {
			return false
		}
		wanted = without(wanted, scripts)
		r.lacking = scripts
	}
	chains, steps := make([][]place, len(wanted)), make([]advance, len(wanted))
	for i, wanted := range wanted {
		var known bool
		if chains[i], known = v.chain(r.layout.Chains[i], wanted); !known {
			return false
		}
		v.guard(chains[i], r.layout, i)
		if !reachable(chains[i], wanted, l.Spares) {
			return false
		}
		steps[i] = next(chains[i], wanted, l.Spares, v.canServe)
		for _, ch := range steps[i].shut {
			r.shut = r.shut.With(resource.Mention{Slot: resource.SlotNumber(r.layout.Chains[i][ch.place].Name), Filter: v.filter(ch.filter).ID})
		}
	}
	if len(r.shut) > 0 && !v.canShut(r) {
		return false
	}
	for i, chain := range chains {
		slots, step := r.layout.Chains[i], steps[i]
		for p, s := range slots {
			rs.hold(s.Name, v.goesOnWith(chain[p]))
		}
		for _, ch := range step.changes {
			c := content{}
			if ch.filter != "" {
				c.filter = v.filter(ch.filter)
				c.as = c.filter == nil
				r.lacking = append(r.lacking, ch.filter)
			}
			rs.hold(slots[ch.place].Name, c)
		}
		for _, p := range step.leaving {
			rs.hold(slots[p].Name, content{as: true, leaving: true})
		}
		r.lacking = append(r.lacking, step.lacking...)
	}
	return true
}

func (rs *placements) hold(slot string, c content) {
	rs.contents[slot] = c
	if c.filter != nil && !slices.Contains(rs.holders[c.filter.Name], slot) {
		rs.holders[c.filter.Name] = append(rs.holders[c.filter.Name], slot)
	}
}

// goesOnWith returns the current content of a place.
func (v *state) goesOnWith(p place) content {
	f := v.filter(p.holds)
	return content{filter: f, as: f == nil && p.holds != "" || !p.filled}
}

// chain returns what slots hold; known is false if that is unknown.
func (v *state) chain(slots []resource.Slot, wanted resource.Chain) (chain []place, known bool) {
	for _, s := range slots {
		if _, unknown := slices.BinarySearch(v.unknown, s.Name); unknown {
			return nil, false
		}
		p := place{gap: s.Gap}
		var have item
		if have, p.filled = v.subs[Extension].have.Find(s.Name); p.filled {
			p.holds = v.holds(have)
		}
		if p.holds != "" && !slices.ContainsFunc(wanted, func(w resource.Wanted) bool { return w.Filter == p.holds }) {
			p.holds = outsider
		}
		chain = append(chain, p)
	}
	return chain, true
}

// holds returns the name of the filter in a listener's own slot; "": none; outsider: one
// that the snapshot does not have.
func (v *state) holds(have item) string {
	if have.Version == resource.EmptyVersion {
		return ""
	}
	if have.Filter != nil {
		return have.Filter.Name
	}
	_, id := resource.CutVersion(have.Version)
	if f := v.snap.FilterByID(id); f != nil {
		return f.Name
	}
	return outsider
}

// canServe reports whether a filter can be put into a slot: whether a version of it is in
// its twin, and the twin in the primer.
func (v *state) canServe(filter string) bool {
	twin, ok := v.subs[Extension].have.Find(v.twinOf(filter))
	return ok && twin.Filter != nil && v.inUse(twin.Name)
}

// older handles the slots of listeners that are draining, or about to be replaced, which
// open connections use: the filters in them are kept up to date, and leave when they are no
// longer wanted.
func (v *state) older(rs *placements) {
	s := &v.subs[Extension]
	ids := map[string]string{} // by listener of the Envoy
	for _, l := range v.subs[Listener].have.Items {
		ids[l.Name] = resource.IDOf(l.Version)
	}
	known := map[string]int{} // by listener: number of names that get something
	taken := func(name string) bool {
		r := rs.byListener[name]
		if r == nil || known[name] >= r.listener.MaxSlots() {
			return false
		}
		known[name]++
		return true
	}
	for _, routes := range v.subs[Route].names.All() {
		name, id, own := resource.RoutesOf(routes)
		if !own {
			continue
		}
		if ids[name] != id {
			rs.drained[name] = append(rs.drained[name], routes)
		}
		rs.routes[routes] = taken(name)
	}
	for _, slot := range s.names.All() {
		name, id, own := resource.SlotOf(slot)
		if !own {
			continue
		}
		if ids[name] != id {
			rs.drained[name] = append(rs.drained[name], slot)
		}
		c := content{as: true}
		if have, filled := s.have.Find(slot); filled {
			rs.note(layoutKey{name, id}, v.holds(have))
			c = v.olderContent(rs.byListener[name], have)
		}
		if _, current := rs.contents[slot]; !current && taken(name) {
			rs.contents[slot] = c
		}
	}
}

// olderContent returns what a slot of a listener that is draining, or about to be replaced,
// should hold if it has a filter, or nothing, now.
func (v *state) olderContent(r *placement, have item) content {
	holds := v.holds(have)
	switch f := v.filter(holds); {
	case r == nil:
		return content{as: true}
	case holds == "":
		return content{}
	case r.wants(holds):
		mayRefuse := f != nil && f.Lua && !(have.Filter != nil && have.Filter.Lua) // a slot for Wasm filters only
		return content{filter: f, as: f == nil || mayRefuse}
	}
	return content{as: true, leaving: true}
}

// note records what a slot of a listener holds.
func (rs *placements) note(of layoutKey, filter string) {
	if rs.held[of] == nil {
		rs.held[of] = map[string]bool{}
	}
	rs.held[of][filter] = true
}

func (r *placement) wants(filter string) bool { return slices.Contains(r.listener.Filters, filter) }

// item returns the listener as it should be.
func (r *placement) item() item {
	return item{Name: r.listener.Name, Version: r.layout.Version, Res: r.layout.Resource(), Slots: r.layout.Slots, Static: r.listener.Static}
}

// wanted returns a listener as this Envoy should have it.
func (v *state) wanted(l *resource.Listener) item {
	r := v.placements().byListener[l.Name]
	if r.layout == nil {
		return intern.ListenerItem(l) // from an earlier process
	}
	return r.item()
}
