package rollout

import (
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
)

// Look is a request to a judge, valid while the change is in that wave.
type Look struct {
	Change string
	Title  string
	Wave   int
	Since  time.Time         // when the wave began or was resumed; the same wave may begin again
	Judge  string            // SignalsJudge, or one of the policy's own
	Ask    *definition.Judge // the judge in the policy; nil for SignalsJudge
	Policy *definition.Rollout
	Unable bool // no Envoy of the wave can report its requests; only for SignalsJudge

	// Additional input of webhooks; empty for other judges.
	Definitions []DefinitionStatus // without their texts
	Nodes       []string           // IDs of Envoys that should have the change, at most a thousand, sorted
	Reached     int                // the number of all of these
}

// Answer returns the event for a verdict. It does not count if the wave has ended meanwhile,
// even if it has begun again: by then, other Envoys may have the change.
func (l Look) Answer(v Verdict, words string) Judged {
	return Judged{Change: l.Change, Wave: l.Wave, Since: l.Since, Judge: l.Judge, Verdict: v, Words: words}
}

// mostNodes is how many nodes a webhook is sent.
const mostNodes = 1000

// Looks returns the judges to ask now. It calls due with each judge that can be asked.
// Fields that require looking at all Envoys are computed only for those that are due.
func (m *Machine) Looks(due func(Look) bool) []Look {
	var all []Look
	for _, c := range m.open {
		if c.State != Rolling || c.Policy == nil || !c.reaches() {
			continue
		}
		own := 0
		var told *Look // what webhooks are told of this change
		for _, judge := range m.judges(c) {
			l := Look{Change: c.ID, Title: title(c.Diffs), Wave: c.Wave, Since: c.judging, Judge: judge, Policy: c.Policy}
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

// membersOf returns the IDs of the first Envoys that a change has reached, sorted.
func (m *Machine) membersOf(c *change, most int) []string {
	var ids []string
	for n := range m.members(c) {
		ids = append(ids, n.ID)
	}
	slices.Sort(ids)
	return slices.Clone(ids[:min(len(ids), most)]) // don't retain the IDs of a large fleet
}

// Modules returns the SHA-256 of the modules of the base, of open changes, and of those
// that can be rolled back to.
func (m *Machine) Modules() []string {
	var sums []string
	for _, f := range m.Filters() {
		if f.Module.SHA256 != "" {
			sums = append(sums, f.Module.SHA256)
		}
	}
	return sums
}

// Filters returns all filters that Envoys may be sent, from the base and changes.
func (m *Machine) Filters() []*module.Filter {
	var all []*module.Filter
	for _, r := range m.kept.refs {
		if f, is := r.item.Value.(*module.Filter); is {
			all = append(all, f)
		}
	}
	return all
}
