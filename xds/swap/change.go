package swap

import (
	"slices"

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
	// ChangeSuperseded: another version is wanted before this one ran or was refused.
	ChangeSuperseded Stage = "superseded"
)

func (m *Machine) change(stage Stage, f *resource.Filter, from, to string) {
	m.ready.Changes = append(m.ready.Changes, Change{Filter: f.Name, From: from, To: to, Stage: stage})
}

// took notes what the ACK of items has changed; before is what Envoy had.
func (m *Machine) took(items []item, before *acked) {
	now, told := m.subs[Extension].have, map[string]bool{}
	for _, it := range items {
		if it.Filter == nil {
			continue
		}
		f := m.filter(it.Filter.Name)
		if f == nil {
			continue
		}
		from, to := m.runs(before, f.Name), m.runs(now, f.Name)
		switch had, _ := before.Find(it.Name); {
		case from == "":
		case !isTwin(it.Name) && to != "" && from != to && !told[f.Name]:
			told[f.Name] = true // in however many slots it is
			m.change(ChangeSwapped, f, from, to)
		case isTwin(it.Name) && it.Version == f.Version && had.Version != f.Version && from != f.Version:
			m.change(ChangePrimed, f, from, f.Version)
		}
	}
}

// failed notes a priming that has come to nothing, once for each reason.
func (m *Machine) failed(p *Priming) {
	stage := ChangeUnfetched
	if p.here {
		stage = ChangeRefused
	}
	f := m.filter(p.Filter)
	if !p.refused() || p.told == stage || f == nil || f.Version != p.Version {
		return
	}
	if from := m.runs(m.subs[Extension].have, f.Name); from != "" {
		p.told = stage
		m.change(stage, f, from, p.Version)
	}
}

// superseded notes what was wanted before and has not come to run.
func (m *Machine) superseded(before *resource.Snapshot) {
	if before == nil || !m.subs[Extension].subscribed {
		return
	}
	s := &m.subs[Extension]
	for _, old := range before.Filters {
		f := m.filter(old.Name)
		if f == nil || f == old || f.Version == old.Version || old.Missing != "" {
			continue
		}
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
