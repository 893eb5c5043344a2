package resource

import (
	"slices"
	"strings"

	"wasmxds/definition"
)

// Spread tells which of the slots in a chain, whose gaps are given, filters go
// into when all of them are free: in its own gap each, with spares around and
// between as far as there are any. Where a gap has too few slots, some place is
// none.
func (c Chain) Spread(gaps []int, spares Spares) []int {
	first, free := map[int]int{}, map[int]int{} // of each gap: its first slot, and slots that no filter needs
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

// Spread tells which filter each of the listener's own slots holds at first where it
// is new in a layout of [Listener.Fresh]; "": none, it is spare.
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

// Content is what a slot holds.
type Content struct {
	*Resource
	Listener string // whose own slot it is; "": people named it
	Filter   string // "": none, it is spare
}

// Contents are what slots hold on an Envoy that is new and has all that it can
// have: each listener's own, in order, and then those that people named like
// filters. Slots that a filter has to be waited for are left out.
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
		for _, logger := range l.Loggers { // has no slot
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

// firstIn is what a slot that is to hold f gets first; f may be nil.
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
