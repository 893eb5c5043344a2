package istio

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition"
)

// networkPatch is the applyTo of patches for network filters.
const networkPatch = "NETWORK_FILTER"

func (p envoyPatch) isNetwork() bool { return p.ApplyTo == networkPatch }

// networkFilter reads a NETWORK_FILTER patch.
func (p envoyPatch) networkFilter() {
	m := &listenerv3.Filter{}
	if !p.Message(p.value, p.Patch.Value, m) {
		return
	}
	if m.GetName() == "" {
		p.Problem(p.value+".name", "", "is missing")
		return
	}
	p.slot(m.GetName(), m.GetConfigDiscovery(), m.GetTypedConfig() != nil)
}

// of returns a place in the kind of list that the patch applies to.
func (p envoyPatch) of(place definition.Place) definition.Place {
	place.Network = p.isNetwork()
	return place
}

// neighbour returns the name, and its path, of the filter that the patch's
// operation refers to, or "" if it names none.
func (p envoyPatch) neighbour() (name, at string) {
	if p.Match.Listener == nil {
		return "", ""
	}
	filter, path := p.Match.Listener.FilterChain.Filter, p.at+".match.listener.filterChain.filter"
	if !p.isNetwork() {
		if !isManager(filter.Name) {
			p.Problem(path+".name", "envoy.filters.network.http_connection_manager: HTTP filters are in no other", "%q has no HTTP filters", filter.Name)
		}
		return filter.SubFilter.Name, path + ".subFilter.name"
	}
	if filter.SubFilter.Name != "" {
		p.Problem(path+".subFilter.name", "", "is for HTTP_FILTER")
	}
	return filter.Name, path + ".name"
}

func isManager(name string) bool {
	return name == "" || definition.CanonicalName(name) == "envoy.http_connection_manager"
}
