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
}

// list is a list of HTTP filters as it was written. Filters are placed by what
// alike tells of it alone.
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

// addList takes a list of HTTP filters of the listener up.
func (l *listener) addList(of list) {
	i := slices.IndexFunc(l.lists, func(known list) bool { return known.alike() == of.alike() })
	if i < 0 {
		i = len(l.lists)
		l.lists = append(l.lists, of)
	}
	l.listOf = append(l.listOf, i)
}

// chains place filters, which must be in order, in the listener's lists.
func (l *listener) chains(filters []*filter) []Chain {
	names := make(map[*hcmv3.HttpFilter]string, len(filters))
	for _, f := range filters {
		names[f.slotEntry] = f.Name
	}
	out := make([]Chain, len(l.lists))
	for i, own := range l.lists {
		gap := 0
		for _, h := range withSlots(l.bare.Name, own, filters) {
			if name, ok := names[h]; ok {
				out[i] = append(out[i], Wanted{name, gap})
			} else {
				gap++
			}
		}
	}
	return out
}
