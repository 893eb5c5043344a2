package istio

import (
	"maps"
	"slices"

	"wasmxds/definition"
)

// patches has the patches of all EnvoyFilters in a file. The configuration and
// the place of a filter may be in different objects.
type patches struct {
	extensions []extensionPatch
	slots      []slotPatch
	broken     bool // some patch could not be read, and may contain what is missing
}

type extensionPatch struct {
	envoyPatch
	filter *definition.Filter
	inline bool // contained in an HTTP_FILTER patch, which is its only place
}

type slotPatch struct {
	envoyPatch
	name     string
	order    int
	stands   definition.Place
	listener definition.ListenerMatch
	types    []string           // message types that it accepts from an EXTENSION_CONFIG
	inline   *definition.Filter // filter that the patch contains; nil: it refers to an EXTENSION_CONFIG by name
}

// places reports whether the patch places the filter of e.
func (s slotPatch) places(e extensionPatch) bool {
	if s.inline != nil || e.inline {
		return s.inline == e.filter
	}
	return s.name == e.filter.Name
}

// End joins filters with their places.
func (r *patches) End() {
	r.nameInline()
	placed := map[string]bool{}
	for _, e := range r.extensions {
		placed[e.filter.Name] = placed[e.filter.Name] || !e.inline
		at := map[string]string{"name": e.value + ".name", "attach": e.at}
		from := []*definition.Doc{e.Doc}
		var wrong []definition.Problem
		for _, s := range r.slots {
			if s.places(e) {
				first := len(from) == 1
				wrong = append(wrong, s.place(e, first)...)
				if first && s.Root() == e.Root() {
					at["attach"] = s.at + ".match"
				}
				from = append(from, s.Doc)
			}
		}
		if len(from) == 1 && !r.broken {
			e.unplaced()
		}
		if len(wrong) > 0 {
			f := e.filter
			definition.Miss(&definition.Hole{Kind: f.Kind, Name: f.Name, Pos: f.Pos, OnFailure: f.OnFailure,
				Attach: definition.Attach{Listeners: f.Attach.Listeners}, Cause: wrong[0]}, from...)
			continue
		}
		e.AddFilter(e.filter, at)
	}
	for _, s := range r.slots {
		if s.inline == nil && !placed[s.name] && !r.broken {
			cause := s.Problem(s.value+".name", "put both into one file", "no EXTENSION_CONFIG patch in this file adds %q", s.name)
			definition.Miss(s.Hole(cause), s.Doc)
		}
	}
}

// unplaced warns about a filter that no patch places.
func (e extensionPatch) unplaced() {
	is := "it is served where a listener asks for it"
	if e.filter.Lua != nil { // slots for it in listeners are for Wasm filters
		is = "no request meets it"
	}
	e.Warn(e.value+".name", "", "no HTTP_FILTER or NETWORK_FILTER patch in this file places %q: %s", e.filter.Name, is)
}

// place adds a place to a filter and returns the problems with it.
func (s slotPatch) place(e extensionPatch, first bool) (wrong []definition.Problem) {
	f := e.filter
	if f.Place.Network != s.isNetwork() {
		wrong = append(wrong, s.Problem(s.at+".applyTo", "NETWORK_FILTER for "+networkWasmName+", HTTP_FILTER for "+wasmName+" and "+luaName,
			"%s, but the filter %q is of the other kind", s.ApplyTo, s.name))
	}
	is := wasmName
	if f.Lua != nil {
		is = luaName
	}
	if s.inline == nil && !s.isNetwork() && !f.Place.Network && !slices.Contains(s.types, is) {
		at := s.Patch.Value.Locate([]string{"config_discovery", "type_urls"})
		wrong = append(wrong, s.Problem(s.value+"."+at, "", "lacks type.googleapis.com/%s, which the filter %q is", is, s.name))
	}
	configured := contextDirection(e.Match.Context)
	m := s.listener
	switch {
	case configured == definition.Any || configured == m.Direction:
	case m.Direction == definition.Any:
		m.Direction = configured
	default:
		wrong = append(wrong, s.Problem(s.at+".match.context", "", "%s, but the EXTENSION_CONFIG of %q is for %s", s.Match.Context, s.name, e.Match.Context))
	}
	labels := maps.Clone(e.object.Spec.WorkloadSelector.Labels)
	for key, value := range s.object.Spec.WorkloadSelector.Labels {
		if other, ok := labels[key]; ok && other != value {
			wrong = append(wrong, s.Problem("spec.workloadSelector.labels", "", "differ from those of the EXTENSION_CONFIG of %q", s.name))
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[key] = value
	}
	if first {
		f.Order, f.Place, f.Attach.Nodes.Labels = s.order, s.stands, labels
	} else if !maps.Equal(labels, f.Attach.Nodes.Labels) {
		wrong = append(wrong, s.Problem("spec.workloadSelector.labels", "give the filter two names", "%q is placed by objects that select different nodes", s.name))
	}
	if f.Place != s.stands {
		s.Warn(s.at+".patch.operation", "give the filter two names", "%q stands where the first patch puts it, here as well", s.name)
	}
	f.Attach.Listeners = append(f.Attach.Listeners, m)
	return wrong
}
