package definition

import (
	"maps"
	"slices"
)

// patches are those of a file's EnvoyFilters. The configuration of a filter
// and its place may be in different objects.
type patches struct {
	extensions []extensionPatch
	slots      []slotPatch
	broken     bool // some patch could not be read: what is missing may be in it
}

type extensionPatch struct {
	envoyPatch
	filter *Filter
	inline bool // in an HTTP_FILTER patch, which is its only place
}

type slotPatch struct {
	envoyPatch
	name     string
	order    int
	stands   Place
	listener ListenerMatch
	inline   *Filter // that the patch has in it; nil: its name is that of an EXTENSION_CONFIG
}

// places says whether the patch places that filter.
func (s slotPatch) places(e extensionPatch) bool {
	if s.inline != nil || e.inline {
		return s.inline == e.filter
	}
	return s.name == e.filter.Name
}

// pair puts filters and their places together.
func (p *parser) pair() {
	p.nameInline()
	placed := map[string]bool{}
	for _, e := range p.patches.extensions {
		placed[e.filter.Name] = placed[e.filter.Name] || !e.inline
		at := map[string]string{"name": e.value + ".name", "attach": e.at}
		first, item := true, e.item
		before := len(p.problems)
		for _, s := range p.patches.slots {
			if s.places(e) {
				s.place(e, first)
				if first && s.root == e.root {
					at["attach"] = s.at + ".match"
				}
				first, item = false, item && s.item
			}
		}
		if first && !p.patches.broken {
			e.warn(e.value+".name", "", "no HTTP_FILTER patch in this file places %q: it is served where a listener asks for it", e.filter.Name)
		}
		if i := slices.IndexFunc(p.problems[before:], func(p Problem) bool { return !p.Warning }); i >= 0 {
			f := e.filter
			p.miss(&Hole{Kind: f.Kind, Name: f.Name, Pos: f.Pos, OnFailure: f.OnFailure,
				Attach: Attach{Listeners: f.Attach.Listeners}, Cause: p.problems[before+i]}, item)
			continue
		}
		e.addFilter(e.filter, at)
	}
	for _, s := range p.patches.slots {
		if s.inline == nil && !placed[s.name] && !p.patches.broken {
			s.problem(s.value+".name", "put both into one file", "no EXTENSION_CONFIG patch in this file adds %q", s.name)
			p.miss(s.hole(p.problems[len(p.problems)-1]), s.item)
		}
	}
}

// place adds a place to a filter.
func (s slotPatch) place(e extensionPatch, first bool) {
	f := e.filter
	configured := contextDirection(e.Match.Context)
	m := s.listener
	switch {
	case configured == Any || configured == m.Direction:
	case m.Direction == Any:
		m.Direction = configured
	default:
		s.problem(s.at+".match.context", "", "%s, but the EXTENSION_CONFIG of %q is for %s", s.Match.Context, s.name, e.Match.Context)
	}
	labels := maps.Clone(e.object.Spec.WorkloadSelector.Labels)
	for key, value := range s.object.Spec.WorkloadSelector.Labels {
		if other, ok := labels[key]; ok && other != value {
			s.problem("spec.workloadSelector.labels", "", "differ from those of the EXTENSION_CONFIG of %q", s.name)
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	if first {
		f.Order, f.Place, f.Attach.Nodes.Labels = s.order, s.stands, labels
	} else if !maps.Equal(labels, f.Attach.Nodes.Labels) {
		s.problem("spec.workloadSelector.labels", "give the filter two names", "%q is placed by objects that select different nodes", s.name)
	}
	if f.Place != s.stands {
		s.warn(s.at+".patch.operation", "give the filter two names", "%q stands where the first patch puts it, here as well", s.name)
	}
	f.Attach.Listeners = append(f.Attach.Listeners, m)
}
