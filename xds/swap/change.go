package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
)

// Change is a step of a filter that runs on this Envoy towards another version.
type Change struct {
	Filter   string
	From, To string // versions: the one that runs until then, the one that was to run
	Stage    Stage
}

// Stage says how far a change has come.
type Stage string

const (
	// ChangePrimed: this Envoy has fetched, compiled, started and configured it.
	ChangePrimed Stage = "primed"
	// ChangeSwapped: it runs in place of the other.
	ChangeSwapped Stage = "swapped"
	// ChangeRefused: this Envoy has the module, and refused it for the first time.
	ChangeRefused Stage = "refused"
	// ChangeUnfetched: this Envoy has tried often, and no download was seen to end.
	ChangeUnfetched Stage = "unfetched"
	// ChangeCrashed: a VM of the version that runs has trapped, From is To.
	ChangeCrashed Stage = "crashed"
	// ChangeReplaced: another VM of that version has taken its place.
	ChangeReplaced Stage = "replaced"
	// ChangeSuperseded: another version is wanted before this one ran or was refused.
	ChangeSuperseded Stage = "superseded"
)

func (m *Machine) change(stage Stage, f *resource.Filter, from, to string) {
	m.ready.Changes = append(m.ready.Changes, Change{Filter: f.Name, From: from, To: to, Stage: stage})
}

// outcome is what the ACK of extension configurations has changed.
type outcome struct {
	of      *item              // the first of them
	began   []string           // names of filters that run in another version since
	proved  []*resource.Filter // seen put in place
	changes []Change
}

// took notes what the ACK of r has changed; before is what Envoy had. Of Envoys that
// had the same it is found out once.
func (m *Machine) took(r *Response, before *acked, now time.Time) {
	if len(r.Changed) == 0 {
		return
	}
	last := &m.standing().outcome
	o := last.Load()
	if o == nil || o.of != &r.Changed[0] || before != r.From {
		o = m.outcomeOf(r.Changed, before)
		if before == r.From {
			last.Store(o)
		}
	}
	m.stamp(o.began, now)
	m.ready.Proved, m.ready.Changes = o.proved, join(m.ready.Changes, o.changes)
}

// join is a with b behind it. Where one is empty it is the other, not to be changed.
func join(a, b []Change) []Change {
	if len(a) == 0 {
		return slices.Clip(b)
	}
	return append(a, b...)
}

func (v *state) outcomeOf(items []item, before *acked) *outcome {
	o, after, told := &outcome{of: &items[0]}, v.subs[Extension].have, map[string]bool{}
	for _, it := range items {
		if it.Filter == nil {
			continue
		}
		name, slot := it.Filter.Name, !isTwin(it.Name)
		from := v.runs(before, name)
		if slot {
			if from != it.Filter.Version && !slices.Contains(o.began, name) {
				o.began = append(o.began, name)
			}
			if !slices.Contains(o.proved, it.Filter) {
				o.proved = append(o.proved, it.Filter)
			}
		}
		f := v.filter(name)
		if f == nil || from == "" {
			continue
		}
		to := v.runs(after, name)
		switch had, _ := before.Find(it.Name); {
		case slot && to != "" && from != to && !told[name]:
			told[name] = true // in however many slots it is
			o.changes = append(o.changes, Change{name, from, to, ChangeSwapped})
		case !slot && it.Version == f.Version && had.Version != f.Version && from != f.Version:
			o.changes = append(o.changes, Change{name, from, f.Version, ChangePrimed})
		}
	}
	return o
}

// stamp notes since when filters run in their versions.
func (m *Machine) stamp(names []string, now time.Time) {
	at := now.Sub(m.began)
	for _, name := range names {
		if i := slices.IndexFunc(m.stamps, func(s stamp) bool { return s.name == name }); i >= 0 {
			m.stamps[i].at = at
			continue
		}
		if m.stamps == nil {
			m.stamps = make([]stamp, 0, len(m.snap.Filters))
		}
		m.stamps = append(m.stamps, stamp{name, at})
	}
}

// Refusal is that this Envoy has refused a version of something, for the first
// time. What is refused for the sake of filters, as the primer, is none.
type Refusal struct {
	Type          Type
	Name, Version string // of a filter, whichever slot it was sent for
	Message       string // Envoy's
	// Unfetched is that no download of the filter's module was seen to end, so that
	// it may be for want of it. Where it has it, the Envoy is told of once more.
	Unfetched bool
}

// failed notes a priming that has come to nothing, once for each reason.
func (m *Machine) failed(p *Priming) {
	stage := ChangeUnfetched
	if p.here {
		stage = ChangeRefused
	}
	f := m.filter(p.Filter)
	if !p.refused() || p.told == stage || f == nil || f.Version != p.Version || resource.IsStandby(f.Name) {
		return
	}
	p.told = stage
	m.ready.Refused = append(m.ready.Refused, Refusal{Extension, f.Name, p.Version, p.Message, !p.here})
	if from := m.runs(m.subs[Extension].have, f.Name); from != "" {
		m.change(stage, f, from, p.Version)
	}
}

// superseded notes what was wanted before and has not come to run.
func (m *Machine) superseded(before *resource.Snapshot) {
	if before == nil || !m.subs[Extension].subscribed {
		return
	}
	s := &m.subs[Extension]
	for _, old := range m.newerThan(before) {
		f := m.filter(old.Name)
		from := m.runs(s.have, old.Name)
		if from == "" || from == old.Version {
			continue
		}
		if p := m.priming(old.Name); p != nil && p.Version == old.Version && p.told != "" {
			continue
		}
		if s.flight != nil && slices.ContainsFunc(s.flight.Changed, func(it item) bool { return it.Filter == old && !isTwin(it.Name) }) {
			continue // it is about to run
		}
		m.change(ChangeSuperseded, f, from, old.Version)
	}
}

// newer are the filters of a snapshot of which another has another version.
type newer struct {
	than    *resource.Snapshot
	filters []*resource.Filter
}

// newerThan gives the filters of before that the snapshot has in another version.
func (v *state) newerThan(before *resource.Snapshot) []*resource.Filter {
	last := &v.standing().newer
	if n := last.Load(); n != nil && n.than == before {
		return n.filters
	}
	n := &newer{than: before}
	for _, old := range before.Filters {
		if f := v.filter(old.Name); f != nil && f.Version != old.Version && old.Missing == "" {
			n.filters = append(n.filters, old)
		}
	}
	last.Store(n)
	return n.filters
}
