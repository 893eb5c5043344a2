package rollout

import (
	"cmp"
	"slices"
	"time"
)

// Status returns a function that returns the current status of all changes. Status itself
// only copies; the function computes texts, and may be called later, on any goroutine.
func (m *Machine) Status(now time.Time) func() Status {
	s := Status{Changes: []ChangeStatus{}, Bases: []BaseStatus{}, Held: []HeldStatus{}}
	all := slices.Concat(m.open, m.ended, m.done)
	slices.SortStableFunc(all, func(a, b *change) int {
		if x, y := a.State.Open(), b.State.Open(); x != y {
			return map[bool]int{true: -1, false: 1}[x]
		}
		return cmp.Or(b.Ended.Compare(a.Ended), b.Opened.Compare(a.Opened))
	})
	var made []*texts
	for _, c := range all {
		s.Changes = append(s.Changes, m.changeStatus(c, now))
		if c.texts == nil {
			c.texts = &texts{diffs: c.Diffs}
		}
		made = append(made, c.texts)
	}
	for _, c := range m.done {
		s.Bases = append(s.Bases, BaseStatus{c.ID, title(c.Diffs), c.Ended})
	}
	for key, h := range m.held {
		s.Held = append(s.Held, HeldStatus{key.Kind, key.Name, h.Files[:min(8, len(h.Files))], short(h.To), h.Since, h.By})
	}
	slices.SortFunc(s.Held, func(a, b HeldStatus) int { return compareKeys(Key{a.Kind, a.Name}, Key{b.Kind, b.Name}) })
	return func() Status {
		for i := range s.Changes {
			s.Changes[i].Definitions = made[i].all()
		}
		return s
	}
}

func (m *Machine) changeStatus(c *change, now time.Time) ChangeStatus {
	s := ChangeStatus{
		ID: c.ID, Title: title(c.Diffs), State: c.State, Words: m.words(c, now), Reason: c.Reason, Opened: c.Opened, Ended: c.Ended,
		Wave: c.Wave, Waves: []WaveStatus{}, Concerned: c.concerned, Reached: c.members, Settled: c.settled, Judges: []VerdictStatus{},
	}
	if c.Policy != nil {
		s.Policy = c.Policy.Name
		for i, w := range c.Policy.Waves {
			one := WaveStatus{Name: waveName(w)}
			if i < len(c.Waves) {
				one.Began, one.Good, one.Ended = c.Waves[i].Began, c.Waves[i].Good, c.Waves[i].Ended
				one.Envoys = c.Waves[i].Envoys
			}
			s.Waves = append(s.Waves, one)
		}
	}
	if w := c.cohorts; w.Change != "" {
		s.Cohorts = &CohortsStatus{New: w.New, Control: w.Control}
	}
	for _, v := range c.verdicts {
		s.Judges = append(s.Judges, VerdictStatus{v.judge, v.verdict, v.words})
	}
	return s
}
