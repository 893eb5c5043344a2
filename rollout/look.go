package rollout

import (
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
}

// Looks are the judges to be asked now.
func (m *Machine) Looks() []Look {
	var all []Look
	for _, c := range m.open {
		if c.State != Rolling || c.Policy == nil || !c.reaches() {
			continue
		}
		own := 0
		for _, judge := range m.judges(c) {
			l := Look{Change: c.ID, Title: title(c.Diffs), Wave: c.Wave, Judge: judge, Policy: c.Policy}
			if judge != SignalsJudge {
				l.Ask = &c.Policy.Ask[own]
				own++
			}
			all = append(all, l)
		}
	}
	return all
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
