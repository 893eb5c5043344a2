package swap

import (
	"slices"
	"strings"

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
	// Primed: this Envoy has fetched, compiled, started and configured it.
	Primed Stage = "primed"
	// Swapped: it runs in place of the other.
	Swapped Stage = "swapped"
	// Refused: this Envoy has the module, and refused it for the first time.
	Refused Stage = "refused"
	// Unfetched: this Envoy has tried often, and no download was seen to end.
	Unfetched Stage = "unfetched"
	// Superseded: another version is wanted before this one ran or was refused.
	Superseded Stage = "superseded"
)

// Changes tells what the newest Step has changed for filters that run. What a
// fresh Envoy gets first is not among it.
func (m *Machine) Changes() []Change { return m.changes }

func (m *Machine) change(stage Stage, f *resource.Filter, from, to string) {
	m.changes = append(m.changes, Change{Filter: f.Name, From: from, To: to, Stage: stage})
}

// took notes what the ACK of items has changed; before is what Envoy had.
func (m *Machine) took(items []item, before *View) {
	now := m.subs[Extension].have
	for _, it := range items {
		f := m.filter(strings.TrimPrefix(it.name, resource.TwinPrefix))
		if f == nil {
			continue
		}
		from, to := before.runs(f), now.runs(f)
		switch had, _ := before.find(it.name); {
		case from == "":
		case !isTwin(it.name) && to != "" && from != to:
			m.change(Swapped, f, from, to)
		case isTwin(it.name) && it.version == f.Version && had.version != f.Version && from != f.Version:
			m.change(Primed, f, from, f.Version)
		}
	}
}

// failed notes a try that has come to nothing, once for each reason.
func (m *Machine) failed(tr *try) {
	stage := Unfetched
	if tr.here {
		stage = Refused
	}
	f := m.filter(tr.name)
	if !tr.refused || tr.told == stage || f == nil || f.Version != tr.version {
		return
	}
	if from := m.subs[Extension].have.runs(f); from != "" {
		tr.told = stage
		m.change(stage, f, from, tr.version)
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
		from := s.have.runs(old)
		if from == "" || from == old.Version {
			continue
		}
		if tr := m.try(Extension, old.Name); tr != nil && tr.version == old.Version && tr.told != "" {
			continue
		}
		if s.flight != nil && slices.ContainsFunc(s.flight.changed, func(it item) bool { return it.name == old.Name && it.version == old.Version }) {
			continue // it is about to run
		}
		m.change(Superseded, f, from, old.Version)
	}
}
