package resource

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	valuev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"

	"wasmxds/definition"
)

// To this package and to xds/swap, a Wasm network filter is like an HTTP
// filter, except for the message in its slots, which are in filter chains. Its
// twin is an HTTP filter: it has the same plugin, and so the same VM, since
// Envoy looks up VMs by the plugin.

// networkSlot begins the number in the name of a listener's own slot for a
// network filter.
const networkSlot = "n"

// IsNetworkSlot reports whether a listener's own slot is for network filters.
func IsNetworkSlot(slot string) bool {
	_, number, ok := cutLast(slot)
	return ok && strings.HasPrefix(slot, SlotPrefix) && strings.HasPrefix(number, networkSlot)
}

// asNetwork returns the same plugin as a network filter.
func asNetwork(config *wasmv3.Wasm) *networkv3.Wasm {
	return &networkv3.Wasm{Config: config.GetConfig()}
}

// networkNothing returns a network filter that does nothing.
func networkNothing(slot string) (*Resource, error) { return extension(slot, new(statev3.Config)) }

// networkNothingAgain returns one in other bytes for each attempt. Envoy sets nothing,
// because the value is empty.
func networkNothingAgain(slot string, attempt int) (*Resource, error) {
	return extension(slot, &statev3.Config{OnNewConnection: []*valuev3.FilterStateValue{{
		Key:        &valuev3.FilterStateValue_ObjectKey{ObjectKey: fmt.Sprintf("wasmxds.attempt.%d", attempt)},
		FactoryKey: "envoy.string",
		Value: &valuev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
			Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{}}},
		}},
		SkipIfEmpty: true,
	}}})
}

// networkList returns the equivalent of a chain of network filters that is used
// to place filters. The last filter ends the chain, as the router ends a list
// of HTTP filters. It has Envoy's name for its type, whatever its own name.
func networkList(chain []*listenerv3.Filter) list {
	var out list
	for i, f := range chain {
		h := &hcmv3.HttpFilter{Name: f.GetName()}
		switch {
		case i == len(chain)-1:
			switch f.GetTypedConfig().GetTypeUrl() {
			case tcpProxyType:
				h.Name = tcpProxyName
			case managerType:
				h.Name = managerName
			}
			h.ConfigType = connectionManager("").HttpFilters[0].ConfigType
		case isNetworkWasmSlot(f):
			h.ConfigType = definition.Slot(f.GetName(), false).ConfigType
		case f.GetConfigDiscovery() != nil:
			h.ConfigType = &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: f.GetConfigDiscovery()}
		case f.GetTypedConfig() != nil:
			h.ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: f.GetTypedConfig()}
		}
		out = append(out, h)
	}
	return out
}

// without removes the filters that are only for chains with another terminal
// filter: one that stands next to a TCP proxy does not belong before an HTTP
// connection manager.
func (l list) without(filters []*filter) []*filter {
	return slices.DeleteFunc(slices.Clone(filters), func(f *filter) bool { return l.endsOtherwise(f.place) })
}

func (l list) endsOtherwise(p place) bool {
	name := cmp.Or(p.Before, p.After)
	return p.Network && definition.IsTerminal(name) && definition.CanonicalName(l[len(l)-1].GetName()) != definition.CanonicalName(name)
}

// isNetworkWasmSlot reports whether f gets a Wasm network filter by ECDS.
func isNetworkWasmSlot(f *listenerv3.Filter) bool {
	return slices.Contains(f.GetConfigDiscovery().GetTypeUrls(), definition.NetworkWasmType)
}

// isNetwork reports whether a filter goes among network filters. A hole, which
// may be of either kind, goes among HTTP filters if the listener has any.
func (l *listener) isNetwork(f *filter) bool {
	return f.place.Network || f.withheld != nil && len(l.lists) == 0
}

// addNetworkLists adds the filter chains of the listener.
func (l *listener) addNetworkLists(own map[string]bool) error {
	for _, c := range definition.NetworkChains(l.message) {
		for _, f := range c.GetFilters() {
			if f.GetConfigDiscovery() == nil {
				continue
			}
			if err := checkName(f.GetName()); err != nil {
				return fmt.Errorf("network filter %q: %w", f.GetName(), err)
			}
			if isNetworkWasmSlot(f) {
				own[f.GetName()] = true
			}
		}
		l.networks, l.networkOf = addTo(l.networks, l.networkOf, networkList(c.GetFilters()))
	}
	return nil
}

// withNetworkSlots inserts the slots of a layout into the filter chains of m,
// which is the listener's message.
func (l *listener) withNetworkSlots(m *listenerv3.Listener, chains [][]Slot) {
	for i, c := range definition.NetworkChains(m) {
		c.Filters = laidOut(c.Filters, chains[l.networkOf[i]], func(name string) *listenerv3.Filter {
			return definition.NetworkSlot(name, true)
		})
	}
}
