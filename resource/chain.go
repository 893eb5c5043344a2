package resource

import (
	"fmt"
	"slices"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Chain is the filters that a listener's own slots in one list of HTTP filters
// must hold, in order. Lists of a listener that are alike share one Chain, and
// their slots have the same names.
type Chain []Wanted

// Wanted is a filter in a Chain.
type Wanted struct {
	Filter string // name of the filter
	Gap    int    // see Slot
	Some   bool   // it does not run on all routes; see [Mentions]
	// Fixed is set for a network filter that must stay in its slot. While it
	// moved, it would be in the chain twice, and connections that open
	// meanwhile would keep both.
	Fixed bool
}

// list is a list of HTTP filters as it was written, or the equivalent of a
// chain of network filters (see networkList). The places of filters depend only
// on what alike returns.
type list []*hcmv3.HttpFilter

// gaps returns the number of places where slots may be inserted: before each
// filter, up to the router.
func (l list) gaps() int { return routerAt(l) + 1 }

// alike returns the same string for lists in which filters have the same
// places.
func (l list) alike() string {
	var b strings.Builder
	for _, h := range l {
		fmt.Fprintf(&b, "%q%q%q%q%t", h.GetName(), h.GetTypedConfig().GetTypeUrl(), structType(h.GetTypedConfig()),
			h.GetConfigDiscovery().GetTypeUrls(), h.GetConfigType() == nil)
	}
	return b.String()
}

// addTo adds a list to the distinct lists of a listener, and appends its index
// to listOf.
func addTo(lists []list, listOf []int, of list) ([]list, []int) {
	i := slices.IndexFunc(lists, func(known list) bool { return known.alike() == of.alike() })
	if i < 0 {
		i = len(lists)
		lists = append(lists, of)
	}
	return lists, append(listOf, i)
}

// all returns the listener's lists of HTTP filters, followed by those of
// network filters.
func (l *listener) all() []list { return slices.Concat(l.lists, l.networks) }

// listsFor returns the lists that a filter goes into, each as often as the
// listener has it.
func (l *listener) listsFor(f *filter) []list {
	var lists []list
	if !l.isNetwork(f) {
		for _, i := range l.listOf {
			lists = append(lists, l.lists[i])
		}
		return lists
	}
	for _, i := range l.networkOf {
		if of := l.networks[i]; !of.endsOtherwise(f.place) {
			lists = append(lists, of)
		}
	}
	return lists
}

// hasListFor reports whether listsFor returns any list.
func (l *listener) hasListFor(f *filter) bool {
	if !l.isNetwork(f) {
		return len(l.lists) > 0
	}
	return slices.ContainsFunc(l.networks, func(of list) bool { return !of.endsOtherwise(f.place) })
}

// chains places filters, which must be in order, in all of the listener's
// lists. Variants follow directly behind the filter that they are variants of.
func (l *listener) chains(all []*filter) []Chain {
	filters, variants := apart(all)
	names := make(map[*hcmv3.HttpFilter]string, len(filters))
	var http, network []*filter
	for _, f := range filters {
		names[f.slotEntry] = f.Name
		if l.isNetwork(f) {
			network = append(network, f)
		} else {
			http = append(http, f)
		}
	}
	var out []Chain
	put := func(lists []list, filters []*filter, fixed bool) {
		for _, own := range lists {
			var chain Chain
			gap := 0
			for _, h := range withSlots(l.bare.Name, own, own.without(filters)) {
				if name, ok := names[h]; ok {
					chain = append(chain, Wanted{Filter: name, Gap: gap, Fixed: fixed})
					for _, variant := range variants[name] {
						chain = append(chain, Wanted{Filter: variant, Gap: gap, Fixed: fixed})
					}
				} else {
					gap++
				}
			}
			out = append(out, chain)
		}
	}
	put(l.lists, http, false)
	put(l.networks, network, true)
	return out
}

// apart separates filters from variants of them, and returns the names of the
// variants by filter.
func apart(filters []*filter) (placed []*filter, variants map[string][]string) {
	there := map[string]bool{}
	for _, f := range filters {
		there[f.Name] = true
	}
	for _, f := range filters {
		if !there[f.variantOf] {
			placed = append(placed, f)
			continue
		}
		if variants == nil {
			variants = map[string][]string{}
		}
		variants[f.variantOf] = append(variants[f.variantOf], f.Name)
	}
	return placed, variants
}
