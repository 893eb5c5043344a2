package resource

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// primer returns the listener in which filters are tried before they serve.
// Envoy fetches, compiles, starts and configures them as for any other
// listener, but the primer is bound to no port and no request reaches it.
// Missing filters have no slot in it: Envoy would wait for them in vain.
func (c *Catalog) primer(filters, standbys []*Filter) *Listener {
	var key strings.Builder
	var ready []*Filter
	for _, f := range slices.Concat(filters, standbys) {
		if f.Missing == "" {
			ready = append(ready, f)
			fmt.Fprintf(&key, "%q", f.TwinName)
		}
	}
	return c.primers.get(key.String(), func() *Listener {
		r, err := newPrimer(ready)
		if err != nil {
			panic(err) // can't happen: the slots were marshalled before
		}
		l := &Listener{}
		for _, f := range ready {
			l.Slots = append(l.Slots, f.TwinName)
		}
		l.Resource = r.withVersion(meaningOf("primer").texts("twin", l.Slots...))
		return l
	})
}

func newPrimer(filters []*Filter) (*Resource, error) {
	hcm := connectionManager(PrimerListener)
	hcm.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
		ConfigSource:    ads(),
		RouteConfigName: GateRoute,
	}}
	router := hcm.HttpFilters
	hcm.HttpFilters = nil
	for _, f := range filters {
		twin := definition.Slot(f.TwinName, true)
		if f.Lua {
			twin = definition.LuaSlot(f.TwinName)
		}
		hcm.HttpFilters = append(hcm.HttpFilters, twin)
	}
	hcm.HttpFilters = append(hcm.HttpFilters, router...)
	config, err := packed(hcm)
	if err != nil {
		return nil, err
	}
	return check(ListenerType, PrimerListener, &listenerv3.Listener{
		Name: PrimerListener,
		// Envoy requires an address, and shows it, but never opens it: any
		// number of Envoys on one machine may have the same one.
		Address:    socketAddress("127.0.0.1", primerPort),
		BindToPort: wrapperspb.Bool(false),
		FilterChains: []*listenerv3.FilterChain{{
			Filters: []*listenerv3.Filter{{Name: managerName, ConfigType: config}},
		}},
	})
}

// gate returns the route configuration that the primer waits for. An Envoy that
// starts is not ready before it has it.
func gate() *Resource {
	r, err := New(RouteType, GateRoute, &routev3.RouteConfiguration{Name: GateRoute})
	if err != nil {
		panic(err) // can't happen: it is a constant
	}
	return r
}
