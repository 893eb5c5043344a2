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

	// What a webhook is told besides.
	Definitions []DefinitionStatus // without their texts
	Nodes       []string           // ids of Envoys that are to have it, a thousand at most, sorted
	Reached     int                // how many these are
}

// mostNodes is how many a webhook is told of.
const mostNodes = 1000

// Looks are the judges to be asked now.
func (m *Machine) Looks() []Look {
	var all []Look
	for _, c := range m.open {
		if c.State != Rolling || c.Policy == nil || !c.reaches() {
			continue
		}
		own := 0
		for _, judge := range m.judges(c) {
			l := Look{Change: c.ID, Title: title(c.Diffs), Wave: c.Wave, Judge: judge, Policy: c.Policy, Reached: c.members}
			if judge != SignalsJudge {
				l.Ask = &c.Policy.Ask[own]
				own++
				if l.Ask.Webhook != nil {
					l.Definitions, l.Nodes = briefs(c.Diffs), m.membersOf(c, mostNodes)
				}
			}
			all = append(all, l)
		}
	}
	return all
}

// membersOf are the ids of the Envoys that a change has reached, the first of them.
func (m *Machine) membersOf(c *change, most int) []string {
	var ids []string
	for _, n := range m.fleet.nodes {
		if n.connected && c.has(n) {
			ids = append(ids, n.ID)
		}
	}
	slices.Sort(ids)
	return ids[:min(len(ids), most)]
}

// Modules are the SHA-256 of the modules that anything kept here names: the base,
// what is open, and what can be gone back to.
func (m *Machine) Modules() []string {
	var sums []string
	for _, r := range m.kept.refs {
		if f, is := r.item.Value.(*module.Filter); is && f.Module.SHA256 != "" {
			sums = append(sums, f.Module.SHA256)
		}
	}
	return sums
}
