package definition

import "strings"

// Place says where a filter stands among the filters that a listener has
// itself, in each of its lists of HTTP filters, or in each of its filter chains.
// Filters that stand at one place are in their order.
type Place struct {
	// Network is for the network filters of a chain, in place of HTTP filters. Their
	// router is the last, be it a TCP proxy or an HTTP connection manager.
	Network bool
	At      At
	// Before and After are the name of one of the listener's own filters, or of
	// another that is attached to it, next to which the filter stands. In a list
	// that has none of that name it stands at At: a filter is not left out.
	Before, After string
}

// At is a place that every list has.
type At string

const (
	First At = "first" // before all of the listener's own filters
	AuthZ At = "authz" // behind those that authenticate, else first
	Stats At = "stats" // behind those that authenticate or authorize, else first
	Last  At = "last"  // before the router; so is ""

	// Logger is none among HTTP filters: it is an access logger, behind the
	// listener's own.
	Logger At = "accessLog"
	// Service is none of a listener: it is a service of the Envoy itself, which has it
	// from its bootstrap.
	Service At = "service"
)

// orderPlace is where a filter stands of which nothing but its order is known.
func orderPlace(order int) Place {
	if order < 0 {
		return Place{At: First}
	}
	return Place{At: Last}
}

// before and after are next to a filter of that name. In a list without it what is to be
// before it is first, and what is to be behind it last: nothing that should
// have come behind a filter comes before it.
func before(name string) Place { return Place{At: First, Before: name} }
func after(name string) Place  { return Place{At: Last, After: name} }

// IsRouter says whether a filter of that name is the router.
func IsRouter(name string) bool { return CanonicalName(name) == "envoy.router" }

// CanonicalName is the same for the two names that Envoy's HTTP and network
// filters had over time: envoy.filters.http.router, and envoy.router.
func CanonicalName(name string) string {
	for _, prefix := range []string{"envoy.filters.http.", "envoy.filters.network."} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return "envoy." + short
		}
	}
	return name
}

// place reads the place of a WasmFilter, which has an order as well.
func (d *Doc) place(written string, order int) Place {
	word, name, _ := strings.Cut(written, " ")
	name = strings.TrimSpace(name)
	if word == networkPlace && !strings.HasPrefix(name, networkPlace) {
		p := d.place(name, order)
		switch p.At {
		case Logger:
			d.Problem("place", "accessLog", "an access logger is no network filter")
		case Service:
			d.Problem("place", "service", "a service is no network filter")
		}
		p.Network = true
		return p
	}
	switch at := At(written); {
	case written == "":
		return orderPlace(order)
	case at == First, at == AuthZ, at == Stats, at == Last, at == Logger, at == Service:
		return Place{At: at}
	case word == "before" && name != "":
		return before(name)
	case word == "after" && (IsRouter(name) || IsTerminal(name)):
		d.Problem("place", "last", "a filter after %s never runs", name)
	case word == "after" && name != "":
		return after(name)
	default:
		d.Problem("place", "first, authz, stats, last, before NAME or after NAME; network, with one of these behind it or none, for a network filter; accessLog for an access logger; service for a service of Envoy itself", "%q is not a place", written)
	}
	return Place{}
}

// Words are what a document says for p; none where the order says as much.
func (p Place) Words(order int) string {
	if p.Network {
		p.Network = false
		return strings.TrimSuffix(networkPlace+" "+p.Words(order), " ")
	}
	switch {
	case p.Before != "":
		return "before " + p.Before
	case p.After != "":
		return "after " + p.After
	case p == orderPlace(order):
		return ""
	}
	return string(p.At)
}
