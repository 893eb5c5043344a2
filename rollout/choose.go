package rollout

import (
	"math"
	"slices"
)

// waveOf returns the reached of a wave and all earlier ones, and the nodes that it adds, in
// order of place. If no Envoy has the labels of the wave, it returns these.
func (m *Machine) waveOf(c *change, wave int) (r reached, fresh []*node, labels map[string]string) {
	w, r := c.Policy.Waves[wave-1], c.Reached
	var all []*node
	chosen, there := 0, false // number of chosen nodes, without those chosen by labels; whether any Envoy has the wave's labels
	for _, n := range m.fleet.nodes {
		if !n.connected {
			continue
		}
		there = there || w.Labels != nil && labelled(&n.Node, w.Labels)
		if !c.concerns(&n.Node) {
			continue
		}
		all = append(all, n)
		if r.has(&n.Node, n.place) && !r.labels(&n.Node) {
			chosen++
		}
	}
	slices.SortFunc(all, byPlace)
	switch {
	case w.Labels != nil:
		if !there {
			return r, nil, w.Labels
		}
		r.Labels = append(slices.Clip(r.Labels), w.Labels)
	case w.Count > 0:
		r.IDs = slices.Clone(r.IDs)
		was := r
		was.IDs = c.Reached.IDs
		for _, n := range all {
			if chosen < w.Count && !was.has(&n.Node, n.place) {
				chosen++
				r.IDs = append(r.IDs, n.ID)
			}
		}
		slices.Sort(r.IDs)
	case w.Share >= 1:
		r = everybody()
	case len(all) > 0:
		k := max(1, int(math.Ceil(w.Share*float64(len(all))-1e-9)))
		r.UpTo = max(r.UpTo, all[k-1].place)
	}
	for _, n := range all {
		if r.has(&n.Node, n.place) && !(c.reaches() && c.Reached.has(&n.Node, n.place)) {
			fresh = append(fresh, n)
		}
	}
	return r, fresh, nil
}
