package resource

import (
	"slices"
	"strings"

	"wasmxds/definition"
)

// Spread returns, for each filter, the index of its slot in a chain whose gaps
// are given, if all slots are free. Each filter is in its own gap, with spares
// around and between the filters as far as there are enough. If a gap has too
// few slots, some of the indices are not valid.
func (c Chain) Spread(gaps []int, spares Spares) []int {
	first, free := map[int]int{}, map[int]int{} // for each gap: its first slot, and the number of slots that no filter needs
	for i, gap := range gaps {
		if _, known := first[gap]; !known {
			first[gap] = i
		}
		free[gap]++
	}
	for _, w := range c {
		free[w.Gap]--
	}
	var at []int
	last, next := -1, 0
	for _, w := range c {
		skip := 0
		if w.Gap == last {
			skip = spares.Between
		} else {
			next = first[w.Gap]
			if w.Gap == 0 {
				skip = spares.Around
			}
		}
		skip = max(0, min(skip, free[w.Gap]))
		free[w.Gap] -= skip
		at = append(at, next+skip)
		last, next = w.Gap, next+skip+1
	}
	return at
}

// Spread returns the filter that each of the listener's own slots holds at
// first, if the listener is new in a layout of [Listener.Fresh]. "" is a spare
// slot.
func (l *Listener) Spread(in *Layout) map[string]string {
	holds := map[string]string{}
	for i, slots := range in.Chains {
		var gaps []int
		for _, s := range slots {
			holds[s.Name] = ""
			gaps = append(gaps, s.Gap)
		}
		for j, p := range l.Chains[i].Spread(gaps, l.Spares) {
			holds[slots[p].Name] = l.Chains[i][j].Filter
		}
	}
	return holds
}

// Content is the content of a slot.
type Content struct {
	*Resource
	Listener string // listener that owns the slot; "": a slot named by users
	Filter   string // "": a spare slot
}

// Contents returns the contents of slots on a new Envoy that has everything it
// can have: each listener's own slots, in order, followed by slots with names
// given by users. It omits slots that wait for a filter.
func (s *Snapshot) Contents() []Content {
	var all []Content
	add := func(c Content, f *Filter, slot string) {
		if c.Resource = f.firstIn(slot); c.Resource != nil {
			all = append(all, c)
		}
	}
	filters := map[string]*Filter{}
	for _, f := range s.Filters {
		filters[f.Name] = f
	}
	attached, named := map[string]bool{}, map[string]bool{}
	for _, l := range s.Listeners {
		for _, logger := range l.Loggers { // loggers have no slots
			attached[logger] = true
		}
		for _, slot := range l.Slots {
			named[slot] = true
		}
		layout := l.In(l.Version)
		if layout == nil {
			continue
		}
		holds := l.Spread(layout)
		for _, slot := range slices.Concat(layout.Chains...) {
			name := holds[slot.Name]
			attached[name] = true
			add(Content{Listener: l.Name, Filter: name}, filters[name], slot.Name)
		}
	}
	for _, f := range s.Filters {
		if named[f.Name] || !attached[f.Name] {
			add(Content{Filter: f.Name}, f, f.Name)
		}
	}
	return all
}

// firstIn returns the first content of a slot for f, which may be nil.
func (f *Filter) firstIn(slot string) *Resource {
	switch own := strings.HasPrefix(slot, SlotPrefix); {
	case f == nil:
		return Empty(slot)
	case f.Missing == "":
		return f.In(slot, 0)
	case own && f.OnFailure == definition.Open:
		return Empty(slot)
	}
	return f.Noop()
}
