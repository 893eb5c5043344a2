package rollout

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/module"
)

// Look is a judge to be asked about a change, for as long as it is in that wave.
type Look struct {
	Change string
	Title  string
	Wave   int
	Judge  string            // SignalsJudge, or one of the policy's own
	Ask    *definition.Judge // what the policy says of it; nil: it is SignalsJudge
	Policy *definition.Rollout
	Unable bool // no Envoy that the wave gives it to can tell of its requests; of SignalsJudge

	// What a webhook is told besides; other judges' have none of it.
	Definitions []DefinitionStatus // without their texts
	Nodes       []string           // ids of Envoys that are to have it, a thousand at most, sorted
	Reached     int                // how many these are
}

// mostNodes is how many a webhook is told of.
const mostNodes = 1000

// Looks are the judges to be asked now, of those that due says it is time for. It is
// asked of each that can be asked; what takes looking at all Envoys is found out
// only for those that are due.
func (m *Machine) Looks(due func(Look) bool) []Look {
	var all []Look
	for _, c := range m.open {
		if c.State != Rolling || c.Policy == nil || !c.reaches() {
			continue
		}
		own := 0
		var told *Look // what webhooks are told of this change
		for _, judge := range m.judges(c) {
			l := Look{Change: c.ID, Title: title(c.Diffs), Wave: c.Wave, Judge: judge, Policy: c.Policy}
			if judge != SignalsJudge {
				l.Ask = &c.Policy.Ask[own]
				own++
			}
			if !due(l) {
				continue
			}
			l.Unable = l.Ask == nil && m.unable(c.cohorts)
			if l.Ask != nil && l.Ask.Webhook != nil {
				if told == nil {
					told = &Look{Definitions: briefs(c.Diffs), Nodes: m.membersOf(c, mostNodes), Reached: c.members}
				}
				l.Definitions, l.Nodes, l.Reached = told.Definitions, told.Nodes, told.Reached
			}
			all = append(all, l)
		}
	}
	return all
}

// membersOf are the ids of the Envoys that a change has reached, the first of them.
func (m *Machine) membersOf(c *change, most int) []string {
	var ids []string
	for n := range m.members(c) {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return slices.Clone(ids[:min(len(ids), most)]) // all of a large fleet are not to be kept
}

// Modules are the SHA-256 of the modules that anything kept here names: the base,
// what is open, and what can be gone back to.
func (m *Machine) Modules() []string {
	var sums []string
	for _, f := range m.Filters() {
		if f.Module.SHA256 != "" {
			sums = append(sums, f.Module.SHA256)
		}
	}
	return sums
}

// Filters are all that Envoys may be sent, as the base and changes have them.
func (m *Machine) Filters() []*module.Filter {
	var all []*module.Filter
	for _, r := range m.kept.refs {
		if f, is := r.item.Value.(*module.Filter); is {
			all = append(all, f)
		}
	}
	return all
}
