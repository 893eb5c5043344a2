package swap

import (
	"slices"

	"wasmxds/resource"
	"wasmxds/xds/swap/intern"
)

// placement is a listener of the snapshot on an Envoy: in which layout, and what
// its own slots lack.
type placement struct {
	listener *resource.Listener
	layout   *resource.Layout  // that it is to have
	kept     bool              // the Envoy has it in that layout
	lacking  []string          // filters that are not in their slots
	fresh    []promise         // where it is not kept: of the slots that it brings
	unlogged []string          // access loggers that it is to have, and has not, or may not be replaced without
	routes   []string          // names of the route configurations that it asks for
	shut     resource.Mentions // that its routes are to have before filters come into those slots
}

// content is what a listener's own slot is to hold now.
type content struct {
	filter  *resource.Filter // nil: nothing
	as      bool             // as it is, whatever that is
	leaving bool             // ... until the listener has all that is wanted in it
}

// placements are those of all listeners of a snapshot, and what is to be in their
// slots.
type placements struct {
	byListener map[string]*placement
	contents   map[string]content  // by slot
	holders    map[string][]string // by filter: the slots that it is, or is to be, in
	drained    map[string][]string // by listener: slots and routes of it as it was that the Envoy still asks for
	routes     map[string]bool     // those that it gets
	held       map[layoutKey]map[string]bool
	mentions   map[string]resource.Mentions // by route configuration: those that it is to have
	poor       bool                         // some listener has fewer spares than it is to have
}

// layoutKey stands for a listener in a layout; held has the names of the filters in
// its slots.
type layoutKey struct{ listener, id string }

// placements looks at the listeners and slots that this Envoy has.
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

// placementOf finds the layout of a listener, and what is to change in its slots. A
// listener that the Envoy has stays while its slots are enough.
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
		r.kept = true // what its slots hold comes with the next request
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

// stays tells whether all that is wanted fits into the slots that the listener
// has, and notes what they are to hold.
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

// goesOnWith is what a place goes on to hold.
func (v *state) goesOnWith(p place) content {
	f := v.filter(p.holds)
	return content{filter: f, as: f == nil && p.holds != "" || !p.filled}
}

// chain is what slots hold; false: that is not known.
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

// holds is the name of the filter that a listener's own slot has; "": none;
// outsider: one that the snapshot does not have.
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

// canServe tells whether a filter can be put into a slot: whether some version
// of it is in its twin, and the twin in the primer.
func (v *state) canServe(filter string) bool {
	twin, ok := v.subs[Extension].have.Find(v.twinOf(filter))
	return ok && twin.Filter != nil && v.inUse(twin.Name)
}

// older looks after slots of listeners that are drained, or that are about to
// be replaced: the filters in them are kept up to date, and go where they are no
// longer wanted. Connections that are still open have them.
func (v *state) older(rs *placements) {
	s := &v.subs[Extension]
	ids := map[string]string{} // by listener, as the Envoy has it
	for _, l := range v.subs[Listener].have.Items {
		ids[l.Name] = resource.IDOf(l.Version)
	}
	known := map[string]int{} // by listener: names that it gets something for
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

// olderContent is what a slot of a listener that is drained, or about to be
// replaced, is to hold where it has a filter, or nothing, now.
func (v *state) olderContent(r *placement, have item) content {
	holds := v.holds(have)
	switch f := v.filter(holds); {
	case r == nil:
		return content{as: true}
	case holds == "":
		return content{}
	case r.wants(holds):
		mayRefuse := f != nil && f.Lua && !(have.Filter != nil && have.Filter.Lua) // a slot for Wasm filters alone
		return content{filter: f, as: f == nil || mayRefuse}
	}
	return content{as: true, leaving: true}
}

// note notes what a slot of a listener holds.
func (rs *placements) note(of layoutKey, filter string) {
	if rs.held[of] == nil {
		rs.held[of] = map[string]bool{}
	}
	rs.held[of][filter] = true
}

func (r *placement) wants(filter string) bool { return slices.Contains(r.listener.Filters, filter) }

// item is the listener as it is to be.
func (r *placement) item() item {
	return item{Name: r.listener.Name, Version: r.layout.Version, Res: r.layout.Resource(), Slots: r.layout.Slots, Static: r.listener.Static}
}

// wanted is a listener as this Envoy is to have it.
func (v *state) wanted(l *resource.Listener) item {
	r := v.placements().byListener[l.Name]
	if r.layout == nil {
		return intern.ListenerItem(l) // of an earlier run
	}
	return r.item()
}
