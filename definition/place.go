package definition

import "strings"

// Place is the position of a filter among a listener's own filters: in each of
// its lists of HTTP filters, or in each of its filter chains. Filters at the
// same place are sorted by their order.
type Place struct {
	// Network places the filter among the network filters of a chain instead of
	// the HTTP filters. The place Last is then before the terminal filter, be
	// it a TCP proxy or an HTTP connection manager.
	Network bool
	At      At
	// Before and After are the name of one of the listener's own filters, or of
	// another filter that is attached to it, next to which the filter is
	// placed. In a list without a filter of that name, the filter is placed at
	// At: it is never left out.
	Before, After string
}

// At is a position that every list has.
type At string

const (
	First At = "first" // before all of the listener's own filters
	AuthZ At = "authz" // behind filters that authenticate, else first
	Stats At = "stats" // behind filters that authenticate or authorize, else first
	Last  At = "last"  // before the router; so is ""

	// Logger is not among the HTTP filters: it is an access logger, behind the
	// listener's own.
	Logger At = "accessLog"
	// Service is not in a listener: it is a service of the Envoy itself, which
	// gets it from its bootstrap.
	Service At = "service"
)

// orderPlace returns the default place of a filter with this order.
func orderPlace(order int) Place {
	if order < 0 {
		return Place{At: First}
	}
	return Place{At: Last}
}

// before and after return the places next to a filter of that name. In a list
// without it, before stands for First and after for Last, so that the filter
// never runs ahead of one that it must follow.
func before(name string) Place { return Place{At: First, Before: name} }
func after(name string) Place  { return Place{At: Last, After: name} }

// IsRouter reports whether a filter of that name is the router.
func IsRouter(name string) bool { return CanonicalName(name) == "envoy.router" }

// CanonicalName maps both the current and the old name of an Envoy filter to
// the same name: envoy.filters.http.router and envoy.router become
// envoy.router.
func CanonicalName(name string) string {
	for _, prefix := range []string{"envoy.filters.http.", "envoy.filters.network."} {
		if short, ok := strings.CutPrefix(name, prefix); ok {
			return "envoy." + short
		}
	}
	return name
}

// place reads the place of a WasmFilter, which also has an order.
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

// Words returns p as it is written in a document, or "" if p follows from the
// order.
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
