package admin

import (
	"cmp"
	"slices"
	"strings"

	"wasmxds/xds/swap"
)

// group is the Envoys of one cluster, or with one value of a label.
type group struct {
	Name    string
	Healthy []*envoyRow
	Bad     []*envoyRow // Envoys that are not as wanted, the worst first
	Gone    []*envoyRow
	Bar     bar
	Link    string // to all of its healthy Envoys
}

// All returns the number of Envoys that should be connected.
func (g *group) All() int { return len(g.Healthy) + len(g.Bad) }

// Shown returns some of the Envoys that are not as wanted.
func (g *group) Shown() []*envoyRow { return g.Bad[:min(len(g.Bad), 24)] }

// More returns how many other Envoys are not as wanted.
func (g *group) More() int { return len(g.Bad) - len(g.Shown()) }

// Names returns the healthy Envoys, if they are few.
func (g *group) Names() []*envoyRow {
	if len(g.Healthy) > 24 {
		return nil
	}
	return g.Healthy
}

const byCluster = "cluster"

// groups divides Envoys into groups, and sorts those with problems first.
func groups(rows []envoyRow, by string) []group {
	index := map[string]*group{}
	var all []*group
	for i := range rows {
		r := &rows[i]
		name := r.Cluster
		if by != byCluster {
			name = r.Labels[by]
		}
		g := index[name]
		if g == nil {
			g = &group{Name: name}
			index[name] = g
			all = append(all, g)
		}
		switch r.State {
		case swap.Running:
			g.Healthy = append(g.Healthy, r)
		case Gone:
			g.Gone = append(g.Gone, r)
		default:
			g.Bad = append(g.Bad, r)
		}
	}
	out := make([]group, 0, len(all))
	for _, g := range all {
		sortRows(g.Bad)
		counts := map[swap.State]int{swap.Running: len(g.Healthy)}
		for _, r := range g.Bad {
			counts[r.State]++
		}
		g.Bar.Label = plural(len(g.Healthy), "healthy Envoy")
		for _, state := range slices.Backward(bySeverity) {
			g.Bar.add(string(state), counts[state], g.All())
		}
		out = append(out, *g)
	}
	worst := func(g *group) int {
		if len(g.Bad) == 0 {
			return -1
		}
		return severity(g.Bad[0].State)
	}
	slices.SortStableFunc(out, func(a, b group) int {
		return cmp.Or(worst(&b)-worst(&a), len(b.Bad)-len(a.Bad), strings.Compare(a.Name, b.Name))
	})
	return out
}

// sortRows sorts the worst first.
func sortRows(rows []*envoyRow) {
	slices.SortStableFunc(rows, func(a, b *envoyRow) int {
		return cmp.Or(severity(b.State)-severity(a.State), strings.Compare(a.ID, b.ID))
	})
}
