package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	udpav1 "github.com/cncf/xds/go/udpa/type/v1"
	xdsv3 "github.com/cncf/xds/go/xds/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// spot is the position of a filter in a list of HTTP filters: before the at-th
// of the listener's own filters, and there behind (1) or before (-1) all
// others, or among them by order (0).
type spot struct{ at, side int }

// withSlots inserts the slots of filters, which are in order, into a listener's
// list of HTTP filters, except for those that it has already. See
// definition.Place for the positions.
func withSlots(listener string, chain []*hcmv3.HttpFilter, filters []*filter) []*hcmv3.HttpFilter {
	type placed struct {
		*filter
		spot
	}
	var put []placed
	for _, f := range filters {
		if !hasSlot(chain, f) {
			put = append(put, placed{f, spotOf(listener, chain, f.place)})
		}
	}
	slices.SortStableFunc(put, func(a, b placed) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.side, b.side))
	})
	out := make([]*hcmv3.HttpFilter, 0, len(chain)+len(put))
	for i, h := range chain {
		for len(put) > 0 && put[0].at == i {
			out = append(out, put[0].slotEntry)
			put = put[1:]
		}
		out = append(out, h)
	}
	return besideOthers(listener, chain, out, filters)
}

// hasSlot reports whether the chain was written with a slot for f. Such slots
// are for Wasm filters.
func hasSlot(chain []*hcmv3.HttpFilter, f *filter) bool {
	return !f.Lua && slices.ContainsFunc(chain, func(h *hcmv3.HttpFilter) bool { return h.GetName() == f.Name && isWasmSlot(h) })
}

// besideOthers moves the filters that stand next to another attached filter
// rather than one of the listener's own. Those may move, too, so it repeats
// until all are in place, for a limited number of rounds, as there may be
// cycles.
func besideOthers(listener string, own, chain []*hcmv3.HttpFilter, filters []*filter) []*hcmv3.HttpFilter {
	var before, behind []*filter
	for _, f := range filters {
		switch {
		case !f.place.beside() || hasSlot(own, f) || neighbour(listener, own, f.place) >= 0:
		case f.place.Before != "":
			before = append(before, f)
		default: // the last one inserted is the nearest
			behind = slices.Insert(behind, 0, f)
		}
	}
	move := slices.Concat(before, behind)
	for range maxRounds {
		last := chain
		for _, f := range move {
			chain = besideOther(listener, chain, f)
		}
		if slices.Equal(chain, last) {
			break
		}
	}
	return chain
}

const maxRounds = 8

func besideOther(listener string, chain []*hcmv3.HttpFilter, f *filter) []*hcmv3.HttpFilter {
	from := slices.Index(chain, f.slotEntry)
	without := slices.Delete(slices.Clone(chain), from, from+1)
	to := neighbour(listener, without, f.place)
	if to < 0 {
		return chain
	}
	if f.place.After != "" {
		to++
	}
	return slices.Insert(without, to, f.slotEntry)
}

// place is the Place of a definition.
type place definition.Place

func (p place) beside() bool { return p.Before != "" || p.After != "" }

// spotOf returns the spot of a place in a listener's list of filters.
func spotOf(listener string, chain []*hcmv3.HttpFilter, p place) spot {
	router := routerAt(chain)
	if i := neighbour(listener, chain, p); i >= 0 && p.Before != "" {
		return spot{min(i, router), 1}
	} else if i >= 0 && i < router {
		return spot{i + 1, -1}
	}
	switch p.At {
	case definition.First:
		return spot{}
	case definition.AuthZ:
		return spot{at: behind(chain[:router], authenticates)}
	case definition.Stats:
		return spot{at: behind(chain[:router], authenticates, authorizes)}
	}
	return spot{at: router}
}

// neighbour returns the index in the chain of the filter that p is next to, or
// -1 if there is none.
func neighbour(listener string, chain []*hcmv3.HttpFilter, p place) int {
	name := cmp.Or(p.Before, p.After)
	switch {
	case name == "":
		return -1
	case definition.IsRouter(name): // whatever its name
		return routerAt(chain)
	}
	return slices.IndexFunc(chain, func(h *hcmv3.HttpFilter) bool {
		return definition.CanonicalName(h.GetName()) == definition.CanonicalName(name) ||
			isWasmSlot(h) && definition.IsSlotOf(h.GetName(), listener, name)
	})
}

// behind returns the index behind the last filter of one of the kinds.
func behind(chain []*hcmv3.HttpFilter, kinds ...[]string) int {
	after := 0
	for i, h := range chain {
		for _, kind := range kinds {
			if slices.ContainsFunc(kind, func(name string) bool { return is(h, name) }) {
				after = i + 1
			}
		}
	}
	return after
}

// Kinds of filters, by the names of their messages and their own names.
var (
	authenticates = []string{
		"envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", "envoy.jwt_authn",
		"envoy.extensions.filters.http.basic_auth.v3.BasicAuth", "envoy.basic_auth",
		"envoy.extensions.filters.http.oauth2.v3.OAuth2", "envoy.oauth2",
		"envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth", "envoy.api_key_auth",
		"istio.envoy.config.filter.http.authn.v2alpha1.FilterConfig", "istio_authn",
	}
	authorizes = []string{
		"envoy.extensions.filters.http.rbac.v3.RBAC", "envoy.rbac",
		"envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", "envoy.ext_authz",
		"envoy.extensions.filters.network.rbac.v3.RBAC", "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
	}
)

// is reports whether a filter has a message of that name, or that name itself.
func is(h *hcmv3.HttpFilter, name string) bool {
	of := func(url string) bool { return url[strings.LastIndex(url, "/")+1:] == name }
	return definition.CanonicalName(h.GetName()) == name || of(h.GetTypedConfig().GetTypeUrl()) || of(structType(h.GetTypedConfig())) ||
		slices.ContainsFunc(h.GetConfigDiscovery().GetTypeUrls(), of)
}

// structType returns the type that a TypedStruct holds, or "" for any other
// message.
func structType(a *anypb.Any) string {
	var xds xdsv3.TypedStruct
	var udpa udpav1.TypedStruct
	switch {
	case a.MessageIs(&xds) && a.UnmarshalTo(&xds) == nil:
		return xds.GetTypeUrl()
	case a.MessageIs(&udpa) && a.UnmarshalTo(&udpa) == nil:
		return udpa.GetTypeUrl()
	}
	return ""
}

// lacks returns the number of lists of l that f goes into and that do not have
// the filter that f is next to.
func (l *listener) lacks(f *filter) int {
	n := 0
	for _, list := range l.listsFor(f) {
		if !hasSlot(list, f) && neighbour(l.bare.Name, list, f.place) < 0 {
			n++
		}
	}
	return n
}

// misplaced warns about filters that can't be placed next to the one they name.
func (b *builder) misplaced() {
	var listeners []*listener
	for _, e := range b.byKey {
		if l, ok := e.part.(*listener); ok {
			listeners = append(listeners, l)
		}
	}
	for _, e := range b.byKey {
		f, ok := e.part.(*filter)
		if !ok || !f.place.beside() || f.variantOf != "" {
			continue
		}
		name := cmp.Or(f.place.Before, f.place.After)
		lacking := b.lacking(f, name, listeners)
		if len(lacking) == 0 {
			continue
		}
		slices.Sort(lacking)
		if more := len(lacking) - maxNamed; more > 0 {
			lacking = append(lacking[:maxNamed], fmt.Sprintf("and %d more", more))
		}
		p := problem(e.pos, "", "filter %s: there is no filter %q to stand next to in listener %s; there it stands %s",
			f.Name, name, strings.Join(lacking, ", "), f.place.At)
		p.Warning = true
		b.problems = append(b.problems, p)
	}
}

// maxNamed bounds the number of listeners that a warning names.
const maxNamed = 5

// lacking returns the listeners that f is attached to and that lack the filter
// of that name in all or some of their lists.
func (b *builder) lacking(f *filter, name string, among []*listener) []string {
	var other *filter
	if e := b.byKey[key{ExtensionType, name}]; e != nil {
		other, _ = e.part.(*filter)
	}
	var names []string
	for _, l := range among {
		if !l.takes(f) || other != nil && other != f && l.takes(other) {
			continue
		}
		switch n, of := l.lacks(f), len(l.listsFor(f)); {
		case n == of:
			names = append(names, l.bare.Name)
		case n > 0:
			names = append(names, fmt.Sprintf("%s (%d of its %d lists)", l.bare.Name, n, of))
		}
	}
	return names
}
