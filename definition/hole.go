package definition

import (
	"slices"
	"strings"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition/internal/document"
	"wasmxds/misspelt"
)

// Hole is a document with errors, as far as it can be read. It stands for what
// is missing until the document is mended. A listener that is served without it
// may be served without its filter.
type Hole struct {
	Kind      string // as written; "": not known
	Name      string // "": not known
	Pos       Position
	OnFailure OnFailure // Open only if the document says so
	Attach    Attach    // where it may belong; empty if it is not a filter
	// Definitions, for a Rollout, are globs of the names that it may be for. If
	// nil, it may be for all.
	Definitions []string

	HTTP bool // not a network filter
	// Tests, for a FilterTest, is the filter that it tests. "": not known.
	Tests string

	mayBeRollout bool    // its kind is not known
	Cause        Problem // the first problem of the document
}

// MayBelongIn reports whether the hole may be a closed filter for a listener
// that is for these nodes.
func (h *Hole) MayBelongIn(t Target, nodes Selector) bool {
	return h.OnFailure != Open && h.Attach.Matches(t) && !disjoint(h.Attach.Nodes, nodes)
}

// String returns the kind and the name of the document, for people.
func (h *Hole) String() string {
	kind := h.Kind
	if kind == "" {
		kind = "document"
	}
	if h.Name != "" {
		kind += " " + h.Name
	}
	return kind
}

// Meant returns the hole with its attach as it was probably meant: a name that
// no listener has also stands for listeners with a similar name.
func (h *Hole) Meant(listeners []string) *Hole {
	meant := *h
	meant.Attach.Listeners = nil
	for _, m := range h.Attach.Listeners {
		for _, name := range m.Names {
			if slices.Contains(listeners, name) {
				continue
			}
			for _, other := range listeners {
				if misspelt.Nearest(name, []string{other}) != "" {
					m.Names = append(slices.Clip(m.Names), other)
				}
			}
		}
		meant.Attach.Listeners = append(meant.Attach.Listeners, m)
	}
	return &meant
}

// Takes reports whether a listener, which is for HTTP or not, has a place for
// what the hole may be.
func (h *Hole) Takes(http bool) bool { return http || !h.HTTP }

// TakesFilters reports whether a raw listener has a place for any filter.
func (r *Resource) TakesFilters() bool {
	l, ok := r.Message.(*listenerv3.Listener)
	return ok && (r.HTTP() || len(NetworkChains(l)) > 0)
}

// HTTP reports whether a raw listener has a place for HTTP filters.
func (r *Resource) HTTP() bool {
	l, ok := r.Message.(*listenerv3.Listener)
	if !ok {
		return false
	}
	return slices.ContainsFunc(append(slices.Clip(l.GetFilterChains()), l.GetDefaultFilterChain()), func(c *listenerv3.FilterChain) bool {
		return slices.ContainsFunc(c.GetFilters(), func(f *listenerv3.Filter) bool {
			return f.GetTypedConfig().MessageIs((*hcmv3.HttpConnectionManager)(nil))
		})
	})
}

// Holes returns a hole for each definition of a file that is left out as a
// whole.
func (f *File) Holes(cause Problem) []*Hole {
	var holes []*Hole
	for _, filter := range f.Filters {
		holes = append(holes, &Hole{
			Kind: filter.Kind, Name: filter.Name, Pos: filter.Pos, OnFailure: filter.OnFailure, Attach: filter.Attach, HTTP: !filter.Place.Network, Cause: cause,
		})
	}
	for _, r := range f.Rollouts {
		holes = append(holes, &Hole{Kind: rolloutKind, Name: r.Name, Pos: r.Pos, OnFailure: Closed, Definitions: r.Definitions, Cause: cause})
	}
	for _, t := range f.Tests {
		holes = append(holes, &Hole{Kind: testKind, Name: t.Name, Pos: t.Pos, OnFailure: Open, Tests: t.Filter, Cause: cause})
	}
	return holes
}

// IsTest reports whether the hole is a FilterTest, which belongs in no
// listener.
func (h *Hole) IsTest() bool { return h.Kind == testKind }

// IsRollout reports whether the hole is a Rollout, which belongs in no
// listener.
func (h *Hole) IsRollout() bool { return h.Kind == rolloutKind }

// MayBeRollout reports whether the hole is a Rollout, or part of a file that
// has one and can't be read further.
func (h *Hole) MayBeRollout() bool { return h.IsRollout() || h.mayBeRollout }

// Unread returns the hole of a file of which nothing is known.
func Unread(cause Problem) *Hole {
	return &Hole{Pos: Position{File: cause.File, Line: cause.Line}, OnFailure: Closed, Attach: Everywhere(), Cause: cause}
}

// Everywhere returns an Attach for every listener of every node.
func Everywhere() Attach { return Attach{Listeners: []ListenerMatch{{Direction: Any}}} }

// disjoint reports whether it is certain that no node matches both selectors.
func disjoint(a, b Selector) bool {
	for key, value := range a.Labels {
		if other, ok := b.Labels[key]; ok && other != value {
			return true
		}
	}
	apart := func(a, b []string) bool {
		literal := func(globs []string) bool {
			return len(globs) > 0 && !slices.ContainsFunc(globs, func(g string) bool { return strings.ContainsAny(g, `*?[\`) })
		}
		return literal(a) && literal(b) && !slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	return apart(a.IDs, b.IDs) || apart(a.Clusters, b.Clusters)
}

// Hole returns the hole that a document with errors leaves.
func (d *Doc) Hole(cause Problem) *Hole {
	h := Unread(cause)
	h.Pos = d.Pos()
	if d.root.Kind != document.Object {
		return h
	}
	if d.object == nil && isObject(d.root) && native()[document.TextOf(d.root.Get("kind"))] != nil {
		of := *d
		of.object, of.root = d.root, asNative(d.root)
		return of.Hole(cause)
	}
	if isStatic(d.root) {
		// Its filters are in its own listeners only.
		h.Kind, h.Attach = bootstrapKind, Attach{}
		return h
	}
	if isDump(d.root) {
		h.Kind, h.Attach = dumpKind, Attach{} // no part of it was ever served
		return h
	}
	h.Name = document.TextOf(d.root.Get("name"))
	if url := document.TextOf(d.root.Get("@type")); url != "" {
		h.Kind = url[strings.LastIndex(url, ".")+1:]
		var known []string
		for _, m := range rawTypes() {
			known = append(known, string(m.ProtoReflect().Descriptor().Name()))
		}
		if misspelt.Nearest(h.Kind, known) != "" {
			// Even a filter of this form is only in listeners with a slot of
			// its name, and these wait for it.
			h.Attach = Attach{}
		}
		return h
	}
	h.Kind = document.TextOf(d.root.Get("kind"))
	if r := d.reader(h.Kind); r != nil {
		h.Name = objectName(d.root)
		r.Hole(d, h)
		return h
	}
	switch h.Kind {
	case "WasmFilter", luaKind:
		place := Place{At: At(document.TextOf(d.root.Get("place")))}
		if document.TextOf(d.root.Get("onFailure")) == string(Open) || d.root.Get("onFailure") == nil && place.onFailure() == Open {
			h.OnFailure = Open
		}
		h.Attach = d.attachAsRead(d.root.Get("attach"))
		if place.At == Service {
			h.Attach.Listeners = nil
		}
		h.HTTP = isHTTPPlace(d.root.Get("place"))
	case "Listener":
		h.Attach = Attach{}
	case rolloutKind:
		d.rolloutHole(h)
	case testKind:
		d.testHole(h)
	default:
		if looksLikeRollout(d.root, h.Kind) {
			d.rolloutHole(h)
		}
		if misspelt.Nearest(h.Kind, []string{"Listener"}) != "" && d.root.Get("module") == nil {
			h.Kind, h.Attach = "Listener", Attach{}
		}
		if d.root.Get("metadata") != nil {
			h.Name = objectName(d.root)
		}
	}
	return h
}
