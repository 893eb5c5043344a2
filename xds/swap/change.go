package swap

import (
	"slices"
	"time"

	"wasmxds/resource"
)

// Change is a step of a running filter toward another version on this Envoy.
type Change struct {
	Filter   string
	From, To string // versions: the one that runs until then, and the intended one
	Stage    Stage
	Unsure   bool // of ChangeCrashed: see Crashes
}

// Stage is the progress of a change.
type Stage string

const (
	// ChangePrimed: this Envoy has fetched, compiled, started and configured the new
	// version.
	ChangePrimed Stage = "primed"
	// ChangeSwapped: the new version runs instead of the old one.
	ChangeSwapped Stage = "swapped"
	// ChangeRefused: this Envoy has the module, and has rejected the version for the first
	// time.
	ChangeRefused Stage = "refused"
	// ChangeUnfetched: this Envoy has tried often, and no download was seen to complete.
	ChangeUnfetched Stage = "unfetched"
	// ChangeCrashed: a VM of the running version has trapped; From is To.
	ChangeCrashed Stage = "crashed"
	// ChangeReplaced: another VM of that version has replaced it.
	ChangeReplaced Stage = "replaced"
	// ChangeSuperseded: another version is wanted before this one ran or was rejected.
	ChangeSuperseded Stage = "superseded"
)

func (m *Machine) change(stage Stage, f *resource.Filter, from, to string) {
	m.ready.Changes = append(m.ready.Changes, Change{Filter: f.Name, From: from, To: to, Stage: stage})
}

// outcome is the effect of an ACK of extension configurations.
type outcome struct {
	of      *item              // the first of them
	began   []string           // names of filters whose running version has changed
	proved  []*resource.Filter // seen put in place
	changes []Change
}

// took records the effect of the ACK of r; before is what the Envoy had. It is computed
// once for all Envoys that had the same.
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

// join returns a followed by b. If one of them is empty, it returns the other, which must
// not be changed.
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
			told[name] = true // once, however many slots it is in
			o.changes = append(o.changes, Change{Filter: name, From: from, To: to, Stage: ChangeSwapped})
		case !slot && it.Version == f.Version && had.Version != f.Version && from != f.Version:
			o.changes = append(o.changes, Change{Filter: name, From: from, To: f.Version, Stage: ChangePrimed})
		}
	}
	return o
}

// stamp records since when filters run in their versions.
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

// Refusal reports that this Envoy has rejected a version of a resource, for the first time.
// Rejections of resources that serve only filters, such as the primer, are not reported.
type Refusal struct {
	Type          Type
	Name, Version string // for a filter, whichever slot it was sent for
	Message       string // from Envoy
	// Unfetched means that no download of the filter's module was seen to complete, so that
	// the lack of it may be the reason. If the Envoy rejects the version although it has
	// the module, another Refusal follows.
	Unfetched bool
}

// Rejects reports whether this Envoy still should have what it has rejected.
func (m *Machine) Rejects(r Refusal) bool {
	if r.Type == Extension {
		if p := m.priming(r.Name); p != nil && p.Version == r.Version {
			return p.refused()
		}
	}
	of := m.refusal(r.Type, r.Name)
	return of != nil && of.version == r.Version && m.wantsRefused(*of)
}

// failed reports a priming that has failed, once for each reason.
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

// superseded reports wanted versions that never ran.
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

// newer are the filters of a snapshot that have other versions in the current one.
type newer struct {
	than    *resource.Snapshot
	filters []*resource.Filter
}

// newerThan returns the filters of before that the snapshot has in another version.
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
