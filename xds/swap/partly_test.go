package swap_test

import (
	"fmt"
	"slices"
	"strings"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// goal is what the change that is open changes.
func (p *play) goal() swap.Goal {
	return swap.Goal{To: p.snap, Base: p.catalog.Snapshot(nodeOf(), "")}
}

// partlyInPlace checks that the Envoy has the change that is open if it is said to.
func (p *play) partlyInPlace() string {
	g := p.goal()
	if g.To == g.Base || !p.m.Has(g) {
		return ""
	}
	if !p.m.InPlace() {
		p.partly++
	}
	if err := p.lacks(g.Base); err != "" {
		return "the change is said to be in place: " + err
	}
	return ""
}

// lacks tells what the Envoy lacks of that in which the snapshot differs from the base.
func (p *play) lacks(base *resource.Snapshot) string {
	for _, f := range p.snap.Filters {
		if was := base.Filter(f.Name); was != nil && was.Version == f.Version && was.Missing == f.Missing {
			continue
		}
		if err := p.lacksFilter(f.Name); err != "" {
			return err
		}
	}
	for _, l := range p.snap.Listeners {
		i := slices.IndexFunc(base.Listeners, func(b *resource.Listener) bool { return b.Name == l.Name })
		if i >= 0 && base.Listeners[i].Base == l.Base && base.Listeners[i].RoutesBase == l.RoutesBase && slices.Equal(base.Listeners[i].Filters, l.Filters) {
			continue
		}
		got := p.e.listeners[l.Name]
		if got == nil {
			return fmt.Sprintf("the Envoy lacks the listener %s, which is changed", l.Name)
		}
		if err := p.newest(l, got); err != "" && !slices.ContainsFunc(slices.Concat(l.Filters, l.Loggers), p.mayMiss) {
			return err
		}
	}
	for _, l := range base.Listeners {
		gone := !slices.ContainsFunc(p.snap.Listeners, func(now *resource.Listener) bool { return now.Name == l.Name })
		if gone && p.e.listeners[l.Name] != nil {
			return fmt.Sprintf("the Envoy has the listener %s, which is removed", l.Name)
		}
	}
	return ""
}

// blame checks that a rejection that is none of the change is of what the base has as well,
// or of what is no longer wanted.
func (p *play) blame(r swap.Refusal) string {
	g := p.goal()
	if p.m.Concerns(g, r) || !isIn(g.To, r) || isIn(g.Base, r) {
		return ""
	}
	return fmt.Sprintf("the change is not to blame for %+v, which the base does not have", r)
}

// isIn tells whether a snapshot has what was rejected, in that version.
func isIn(s *resource.Snapshot, r swap.Refusal) bool {
	if r.Type == swap.Listener {
		return slices.ContainsFunc(s.Listeners, func(l *resource.Listener) bool { return l.Name == r.Name && l.Is(r.Version) })
	}
	return slices.ContainsFunc(s.Filters, func(f *resource.Filter) bool { return f.Name == r.Name && f.Version == r.Version }) ||
		slices.ContainsFunc(s.Static, func(e *resource.Resource) bool { return e.Name == r.Name && e.Version == r.Version })
}

// mayMiss tells whether a listener goes without a filter, since it fails open.
func (p *play) mayMiss(filter string) bool {
	return (strings.Contains(filter, "open") || filter == "trace") && p.broken[filter] != ""
}

// lacksFilter tells where a filter does not run that is to. An older version of a listener
// may have an HTTP filter where the newest has a network filter.
func (p *play) lacksFilter(name string) string {
	f := p.snap.Filter(name)
	for _, l := range p.snap.Listeners {
		if !wantedIn(l, name) {
			continue
		}
		got := p.e.listeners[l.Name]
		if got == nil {
			return fmt.Sprintf("the Envoy lacks the listener %s, which has the filter %s", l.Name, name)
		}
		is := func(content, slot string) bool {
			want, _ := decodeExtension(f.In(slot, 0))
			return stripAddress(content) == stripAddress(want)
		}
		if !slices.ContainsFunc(got.slots, func(slot string) bool { return is(p.e.slots[slot].active, slot) }) &&
			!slices.ContainsFunc(got.logs, func(log modelLogger) bool { return is(log.content, name) }) {
			return fmt.Sprintf("the filter %s does not run in listener %s", name, l.Name)
		}
	}
	return ""
}

// wave opens a change that the Envoy takes, of a filter and sometimes of routes or a listener,
// whatever the Envoy rejects for good, and checks that it is said to be in place exactly if
// it is.
func (p *play) wave() string {
	var good []string
	for _, f := range p.filters {
		if p.broken[f] == "" {
			good = append(good, f)
		}
	}
	if len(good) == 0 {
		return ""
	}
	name := good[p.rng.IntN(len(good))]
	p.base = p.wants.clone()
	p.versions[name]++
	switch p.rng.IntN(4) {
	case 0:
		p.timeout++
	case 1:
		p.tcp = p.tcp != !p.rejects
	}
	p.publish()
	p.logf("%s goes in a wave", name)
	for range 100 {
		p.rest()
		if err := p.check(); err != "" {
			return err
		}
		if p.m.Has(p.goal()) {
			return ""
		}
		for len(p.alarms) > 0 {
			p.alarm()
		}
		p.e.drained() // what an older connection has counts as well
	}
	if p.lacks(p.goal().Base) == "" {
		var has strings.Builder
		for _, f := range p.m.Filters(p.now) {
			fmt.Fprintf(&has, "\n%+v", f)
		}
		for _, l := range p.m.Listeners(p.now) {
			fmt.Fprintf(&has, "\n%+v", l)
		}
		return fmt.Sprintf("%s is in place, and the change is said not to be: %s", name, &has)
	}
	return ""
}
