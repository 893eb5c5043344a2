package resource

import (
	"fmt"
	"iter"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const (
	managerType = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
	managerName = "envoy.filters.network.http_connection_manager"
	routerType  = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
	routerName  = "envoy.filters.http.router"
)

// connectionManagers returns the filters of m that are HTTP connection
// managers.
func connectionManagers(m *listenerv3.Listener) iter.Seq[*listenerv3.Filter] {
	return func(yield func(*listenerv3.Filter) bool) {
		for _, chain := range append(slices.Clip(m.GetFilterChains()), m.GetDefaultFilterChain()) {
			for _, f := range chain.GetFilters() {
				if f.GetTypedConfig().GetTypeUrl() == managerType && !yield(f) {
					return
				}
			}
		}
	}
}

// changeManagers calls change for each HTTP connection manager in m.
func changeManagers(m *listenerv3.Listener, change func(*hcmv3.HttpConnectionManager)) error {
	for at := range connectionManagers(m) {
		hcm, err := unpack(at)
		if err != nil {
			return err
		}
		change(hcm)
		if at.ConfigType, err = packed(hcm); err != nil {
			return err
		}
	}
	return nil
}

func unpack(f *listenerv3.Filter) (*hcmv3.HttpConnectionManager, error) {
	hcm := new(hcmv3.HttpConnectionManager)
	if err := f.GetTypedConfig().UnmarshalTo(hcm); err != nil {
		return nil, fmt.Errorf("read HTTP connection manager: %w", err)
	}
	return hcm, nil
}

func packed(hcm *hcmv3.HttpConnectionManager) (*listenerv3.Filter_TypedConfig, error) {
	if err := hcm.ValidateAll(); err != nil {
		return nil, fmt.Errorf("HTTP connection manager is not valid for Envoy: %w", err)
	}
	value, err := pack(hcm)
	return &listenerv3.Filter_TypedConfig{TypedConfig: value}, err
}

// filterChains returns the lists of HTTP filters in hcm: the one for all
// requests, and those that replace it for upgrades such as WebSockets.
func filterChains(hcm *hcmv3.HttpConnectionManager) []*[]*hcmv3.HttpFilter {
	chains := []*[]*hcmv3.HttpFilter{&hcm.HttpFilters}
	for _, u := range hcm.GetUpgradeConfigs() {
		if len(u.GetFilters()) > 0 {
			chains = append(chains, &u.Filters)
		}
	}
	return chains
}

// routerAt returns the index of the router among HTTP filters, or -1 if there
// is none.
func routerAt(filters []*hcmv3.HttpFilter) int {
	return slices.IndexFunc(filters, func(f *hcmv3.HttpFilter) bool {
		return f.GetTypedConfig().GetTypeUrl() == routerType || f.GetConfigType() == nil && f.GetName() == routerName
	})
}

// isWasmSlot reports whether f gets a Wasm filter by ECDS.
func isWasmSlot(f *hcmv3.HttpFilter) bool {
	return slices.Contains(f.GetConfigDiscovery().GetTypeUrls(), wasmType)
}

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: new(corev3.AggregatedConfigSource)},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(0),
	}
}

// connectionManager returns the connection manager of native listeners and the
// primer, without routes. It speaks HTTP/1 and HTTP/2 and sets only what a
// proxy that filters requests must set: it normalizes the path before a filter
// sees it, and does not trust the client's own address and x-envoy-… headers.
func connectionManager(name string) *hcmv3.HttpConnectionManager {
	router, err := pack(new(routerv3.Router))
	if err != nil {
		panic(err) // can't happen: an empty message can be marshalled
	}
	return &hcmv3.HttpConnectionManager{
		StatPrefix:       name,
		CodecType:        hcmv3.HttpConnectionManager_AUTO,
		UseRemoteAddress: wrapperspb.Bool(true),
		NormalizePath:    wrapperspb.Bool(true),
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       routerName,
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: router},
		}},
	}
}
