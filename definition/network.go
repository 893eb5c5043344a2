package definition

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"

	"wasmxds/definition/internal/document"
)

// networkPlace is the first word of the place of a network filter.
const networkPlace = "network"

// Types that a slot for a network filter accepts.
const (
	NetworkWasmType = typePrefix + networkWasmName
	networkWasmName = "envoy.extensions.filters.network.wasm.v3.Wasm"
	// networkNoopType is a network filter that does nothing if it is not
	// configured.
	networkNoopType = typePrefix + "envoy.extensions.filters.network.set_filter_state.v3.Config"
)

// NetworkSlot is like Slot, for a network filter.
func NetworkSlot(name string, open bool) *listenerv3.Filter {
	types := []string{NetworkWasmType}
	if open {
		types = append(types, networkNoopType)
	}
	return &listenerv3.Filter{
		Name:       name,
		ConfigType: &listenerv3.Filter_ConfigDiscovery{ConfigDiscovery: discovery(types)},
	}
}

// IsTerminal reports whether a network filter of that name is a terminal
// filter.
func IsTerminal(name string) bool {
	switch CanonicalName(name) {
	case "envoy.tcp_proxy", "envoy.http_connection_manager":
		return true
	}
	return false
}

// NetworkChains returns the filter chains of a listener that may have Wasm
// network filters: those with at least one filter, which ends in a terminal
// one. QUIC listeners have none, since they have no byte streams to filter.
func NetworkChains(l *listenerv3.Listener) []*listenerv3.FilterChain {
	if l.GetUdpListenerConfig() != nil || l.GetAddress().GetSocketAddress().GetProtocol() == corev3.SocketAddress_UDP {
		return nil
	}
	return slices.DeleteFunc(append(slices.Clone(l.GetFilterChains()), l.GetDefaultFilterChain()), func(c *listenerv3.FilterChain) bool {
		return len(c.GetFilters()) == 0
	})
}

// network takes a Wasm network filter out of a filter chain and reports whether
// it is one. Its configuration is written at the path at.
func (in *inline) network(f *listenerv3.Filter, chain string, at []string) bool {
	path := in.root.Locate(at)
	wasm, ok := in.NetworkWasm(path, in.at(path))
	if !ok {
		in.failed = true
		return true
	}
	code := wasm.GetConfig().GetVmConfig().GetCode()
	if wasm == nil || f.GetName() == "" || code.GetRemote() == nil && code.GetLocal().GetFilename() == "" {
		return wasm != nil
	}
	place := []string{in.listener.GetName(), chain, networkPlace, f.GetName()}
	place = slices.DeleteFunc(place, func(part string) bool { return part == "" })
	nameAt := in.root.Locate(append(slices.Clone(at[:len(at)-1]), "name"))
	name := in.take(wasm, Place{Network: true, At: Last}, path, nameAt, SlotName(place...))
	if name == "" {
		in.failed = true
		return true
	}
	slot := NetworkSlot(name, in.taken[name].OnFailure == Open)
	f.Name, f.ConfigType = slot.Name, slot.ConfigType
	return true
}

// message returns the filter's Envoy message as it was written.
func (f *Filter) message() proto.Message {
	if f.Place.Network {
		return &networkv3.Wasm{Config: f.Wasm.GetConfig()}
	}
	return f.Wasm
}

// isHTTPPlace reports whether a place is certain to be one of HTTP filters.
func isHTTPPlace(n *document.Node) bool {
	if n == nil {
		return true
	}
	word, _, _ := strings.Cut(document.TextOf(n), " ")
	return slices.Contains([]string{string(First), string(AuthZ), string(Stats), string(Last), "before", "after"}, word)
}
