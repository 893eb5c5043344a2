package resource

import (
	"fmt"
	"slices"
	"strings"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// Chain is what the own slots in a list of HTTP filters of a listener are to
// hold, in order. Lists of a listener that are alike are one Chain, with slots of
// the same names.
type Chain []Wanted

// Wanted is a filter in a Chain.
type Wanted struct {
	Filter string // name
	Gap    int    // see Slot
	Some   bool   // it does not run for all routes; see [Mentions]
	// Fixed, of a network filter: it moves to no other slot. For a moment it would be
	// in the chain twice, and whatever connects then would have it twice for good.
	Fixed bool
}

// list is a list of HTTP filters as it was written, or see networkList. Filters are
// placed by what alike tells of it alone.
type list []*hcmv3.HttpFilter

// gaps is how many places there are where slots may stand: before each filter,
// up to the router.
func (l list) gaps() int { return routerAt(l) + 1 }

// alike is the same for lists in which filters have the same places.
func (l list) alike() string {
	var b strings.Builder
	for _, h := range l {
		fmt.Fprintf(&b, "%q%q%q%q%t", h.GetName(), h.GetTypedConfig().GetTypeUrl(), structType(h.GetTypedConfig()),
			h.GetConfigDiscovery().GetTypeUrls(), h.GetConfigType() == nil)
	}
	return b.String()
}

// addTo takes a list up among those of a listener, and notes which of them it is.
func addTo(lists []list, listOf []int, of list) ([]list, []int) {
	i := slices.IndexFunc(lists, func(known list) bool { return known.alike() == of.alike() })
	if i < 0 {
		i = len(lists)
		lists = append(lists, of)
	}
	return lists, append(listOf, i)
}

// all are the listener's lists of HTTP filters, and behind them those of network
// filters.
func (l *listener) all() []list { return slices.Concat(l.lists, l.networks) }

// listsFor are those that a filter goes into, as often as the listener has each.
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

// hasListFor says whether there are any.
func (l *listener) hasListFor(f *filter) bool {
	if !l.isNetwork(f) {
		return len(l.lists) > 0
	}
	return slices.ContainsFunc(l.networks, func(of list) bool { return !of.endsOtherwise(f.place) })
}

// chains place filters, which must be in order, in all of the listener's lists.
// Variants are right behind what they are variants of.
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

// apart are filters without the variants of others, and the names of those.
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
