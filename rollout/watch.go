package rollout

import "slices"

// mostWatched bounds a cohort, and mostCompared those that one is chosen from.
const (
	mostWatched  = 100
	mostCompared = 1000
)

// leastControl is how many Envoys a wave of fewer is compared with. What one of them
// does by itself now and then must not be taken for what all would do: with one of
// each, no good change was found good within an hour.
const leastControl = 31

// cohorts chooses whom to watch for a wave: those that it gives the change to, and
// as many of the others or more, likest to them by cluster and labels. Where there are no
// others, those that have had it since an earlier wave take their place: for them
// nothing changes either.
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

// likeness is how many labels two nodes share, and their cluster.
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

// same says whether the same Envoys are watched for the same wave.
func (w Watch) same(other Watch) bool {
	return w.Change == other.Change && w.Wave == other.Wave && slices.Equal(w.New, other.New) && slices.Equal(w.Control, other.Control)
}

func (m *Machine) watch(w Watch, phase Phase) {
	w.Phase = phase
	m.ready.Watch = append(m.ready.Watch, w)
}

// watchAgain has a wave watched that began before this server started, and of which
// nothing was kept.
func (m *Machine) watchAgain(c *change) {
	if c.cohorts.Change != "" {
		return
	}
	members := slices.SortedFunc(m.members(c), byPlace)
	c.cohorts = m.cohorts(c, c.Wave, c.Reached, members)
	m.watch(c.cohorts, During)
}

// stopWatching ends what is watched for a change.
func (m *Machine) stopWatching(c *change) {
	if c.cohorts.Change != "" {
		m.watch(c.cohorts, After)
		c.cohorts = Watch{}
	}
	m.forgetTold(c)
	if c.growth != nil && c.growth.watch.Change != "" {
		m.watch(c.growth.watch, After)
	}
}
