package rollout

import "slices"

// mostWatched is the size limit of a cohort, and mostCompared of the set from which the
// control is chosen.
const (
	mostWatched  = 100
	mostCompared = 1000
)

// leastControl is the smallest control cohort, if there are enough other Envoys. What a
// single Envoy does now and then must not be taken for what all would do: with one Envoy in
// each cohort, no good change was found good within an hour.
const leastControl = 31

// cohorts chooses the Envoys to observe for a wave: those that it gives the change to, and
// at least as many of the others, the most similar by cluster and labels. If there are no
// others, it chooses those that have had the change since an earlier wave, because nothing
// changes for them either.
func (m *Machine) cohorts(c *change, wave int, r reached, fresh []*node) Watch {
	w := Watch{Change: c.ID, Wave: wave, Policy: c.Policy}
	fresh = fresh[:min(len(fresh), mostWatched)]
	var others, before []*node
	for _, n := range m.fleet.nodes {
		switch {
		case !n.connected || !c.concerns(&n.Node):
		case !r.has(&n.Node, n.place):
			others = append(others, n)
		case c.has(n) && !slices.Contains(fresh, n):
			before = append(before, n)
		}
	}
	if len(others) == 0 && len(before) > 0 {
		others, w.ControlSince = before, c.Waves[c.Wave-1].Began
	}
	slices.SortFunc(others, byPlace)
	others = others[:min(len(others), mostCompared)]
	for _, n := range fresh {
		w.New = append(w.New, n.ID)
	}
	if len(fresh) == 0 {
		return w
	}
	taken := make([]bool, len(others))
	for k := range min(max(len(fresh), leastControl), len(others)) {
		n := fresh[k%len(fresh)]
		best, most := -1, -1
		for i, o := range others {
			if taken[i] {
				continue
			}
			if alike := likeness(n, o); alike > most {
				best, most = i, alike
			}
		}
		if best >= 0 {
			taken[best] = true
			w.Control = append(w.Control, others[best].ID)
		}
	}
	return w
}

// likeness returns how many labels two nodes share, plus one for the same cluster.
func likeness(a, b *node) int {
	n := 0
	if a.Cluster == b.Cluster {
		n++
	}
	for key, value := range a.Labels {
		if other, ok := b.Labels[key]; ok && other == value {
			n++
		}
	}
	return n
}

// same reports whether the same Envoys are observed for the same wave.
func (w Watch) same(other Watch) bool {
	return w.Change == other.Change && w.Wave == other.Wave && slices.Equal(w.New, other.New) && slices.Equal(w.Control, other.Control)
}

func (m *Machine) watch(w Watch, phase Phase) {
	w.Phase = phase
	m.ready.Watch = append(m.ready.Watch, w)
}

// watchAgain observes a wave that began before this process started, if no signals from
// before it were saved.
func (m *Machine) watchAgain(c *change) {
	if c.cohorts.Change != "" {
		return
	}
	members := slices.SortedFunc(m.members(c), byPlace)
	c.cohorts = m.cohorts(c, c.Wave, c.Reached, members)
	m.watch(c.cohorts, During)
}

// stopWatching ends all observation for a change.
func (m *Machine) stopWatching(c *change) {
	if c.cohorts.Change != "" {
		m.watch(c.cohorts, After)
		c.cohorts = Watch{}
	}
	m.forgetTold(c)
	m.unprepare(c)
}

// unprepare gives up the wave that is about to begin. Its Envoys are no longer observed.
func (m *Machine) unprepare(c *change) {
	if c.growth != nil && c.growth.observed {
		m.watch(c.growth.watch, After)
	}
	c.growth = nil
}
