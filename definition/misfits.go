package definition

import (
	"fmt"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// misfits reports raw listeners with a slot for a network filter if the filter
// of that name is an HTTP filter, or the reverse: Envoy would reject it there.
func misfits(files []*File) []Problem {
	network := map[string]bool{}
	for _, f := range files {
		for _, filter := range f.Filters {
			network[filter.Name] = filter.Place.Network
		}
	}
	var problems []Problem
	for _, f := range files {
		for _, r := range f.Resources {
			for _, wrong := range misfitsIn(r, network) {
				problems = append(problems, f.problem(r, "filter_chains", wrong, "place: network makes a WasmFilter a network filter"))
			}
		}
	}
	return problems
}

// misfitsIn reports which slots of a raw listener don't fit the filters of
// their names. The map network has for each filter whether it is a network
// filter.
func misfitsIn(r *Resource, network map[string]bool) []string {
	l, ok := r.Message.(*listenerv3.Listener)
	if !ok || len(network) == 0 {
		return nil
	}
	var wrong []string
	for _, c := range NetworkChains(l) {
		for _, f := range c.GetFilters() {
			if is, known := network[f.GetName()]; known && !is && slices.Contains(f.GetConfigDiscovery().GetTypeUrls(), NetworkWasmType) {
				wrong = append(wrong, fmt.Sprintf("its slot %q is for a network filter, and the filter %s is for HTTP", f.GetName(), f.GetName()))
			}
			hcm := &hcmv3.HttpConnectionManager{}
			if f.GetTypedConfig().UnmarshalTo(hcm) != nil {
				continue // another filter
			}
			for _, h := range hcm.GetHttpFilters() {
				if network[h.GetName()] && slices.Contains(h.GetConfigDiscovery().GetTypeUrls(), wasmType) {
					wrong = append(wrong, fmt.Sprintf("its slot %q is for an HTTP filter, and the filter %s is a network filter", h.GetName(), h.GetName()))
				}
			}
		}
	}
	return wrong
}
