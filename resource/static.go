package resource

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition"
)

// staticSlots returns the names of listener, network and HTTP filters, except
// Wasm filters, that m gets by ECDS over this stream.
func staticSlots(m *listenerv3.Listener) []string {
	var names []string
	add := func(name string, from *corev3.ExtensionConfigSource) {
		source := from.GetConfigSource()
		if (source.GetAds() != nil || source.GetSelf() != nil) && !slices.Contains(from.GetTypeUrls(), wasmType) &&
			!slices.Contains(from.GetTypeUrls(), definition.NetworkWasmType) {
			names = append(names, name)
		}
	}
	for _, f := range m.GetListenerFilters() {
		add(f.GetName(), f.GetConfigDiscovery())
	}
	for _, chain := range append(slices.Clip(m.GetFilterChains()), m.GetDefaultFilterChain()) {
		for _, f := range chain.GetFilters() {
			add(f.GetName(), f.GetConfigDiscovery())
		}
	}
	for at := range connectionManagers(m) {
		hcm, err := unpack(at)
		if err != nil {
			continue // newListener has reported it
		}
		for _, chain := range filterChains(hcm) {
			for _, f := range *chain {
				add(f.GetName(), f.GetConfigDiscovery())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
