package istio

import (
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// envoyFilter is Istio's EnvoyFilter, networking.istio.io/v1alpha3, as far as
// it places Wasm and Lua filters: an EXTENSION_CONFIG patch that contains the
// filter and HTTP_FILTER patches of the same name that place it; or an
// HTTP_FILTER patch that contains the filter. An added CLUSTER becomes a
// cluster of every node. All fields are here: those that are not supported are
// rejected by name.
//
// https://istio.io/latest/docs/reference/config/networking/envoy-filter/
type envoyFilter struct {
	APIVersion string              `json:"apiVersion" jsonschema:"required,enum=networking.istio.io/v1alpha3"`
	Kind       string              `json:"kind"`
	Metadata   definition.Metadata `json:"metadata" jsonschema:"required"`
	Spec       envoyFilterSpec     `json:"spec" jsonschema:"required"`
	Status     *document.Node      `json:"status"`
}

type envoyFilterSpec struct {
	WorkloadSelector struct {
		Labels map[string]string `json:"labels"`
	} `json:"workloadSelector"`
	TargetRefs    *document.Node `json:"targetRefs" refuse:"Gateway API objects are not known here; select nodes by workloadSelector.labels, those of a Gateway by gateway.networking.k8s.io/gateway-name"`
	ConfigPatches []configPatch  `json:"configPatches" jsonschema:"required"`
	Priority      int32          `json:"priority"`
}

type configPatch struct {
	ApplyTo string      `json:"applyTo" jsonschema:"required"`
	Match   configMatch `json:"match"`
	Patch   struct {
		Operation   string         `json:"operation" jsonschema:"required"`
		FilterClass string         `json:"filterClass" jsonschema:"enum=UNSPECIFIED,enum=AUTHN,enum=AUTHZ,enum=STATS"`
		Value       *document.Node `json:"value" jsonschema:"required"`
	} `json:"patch" jsonschema:"required"`
}

type configMatch struct {
	Context string `json:"context" jsonschema:"enum=ANY,enum=SIDECAR_INBOUND,enum=SIDECAR_OUTBOUND,enum=GATEWAY,enum=WAYPOINT"`
	Proxy   struct {
		ProxyVersion *document.Node `json:"proxyVersion" refuse:"Envoys have no Istio version here; leave it out"`
		Metadata     *document.Node `json:"metadata" refuse:"nodes are selected by workloadSelector.labels only"`
	} `json:"proxy"`
	Listener           *patchListener `json:"listener"`
	RouteConfiguration *document.Node `json:"routeConfiguration" refuse:"is not looked at here; match by listener"`
	Cluster            *document.Node `json:"cluster" refuse:"is not looked at here; match by listener"`
	Waypoint           *document.Node `json:"waypoint" refuse:"there are no waypoints here; match by listener"`
}

type patchListener struct {
	PortNumber     uint32         `json:"portNumber"`
	PortName       *document.Node `json:"portName" refuse:"is not implemented, here or in Istio; use portNumber"`
	Name           string         `json:"name"`
	ListenerFilter *document.Node `json:"listenerFilter" refuse:"is for LISTENER_FILTER, which is not applied here"`
	FilterChain    struct {
		Name                 *document.Node `json:"name" refuse:"a filter goes into every filter chain of a listener"`
		SNI                  *document.Node `json:"sni" refuse:"a filter goes into every filter chain of a listener"`
		TransportProtocol    *document.Node `json:"transportProtocol" refuse:"a filter goes into every filter chain of a listener"`
		ApplicationProtocols *document.Node `json:"applicationProtocols" refuse:"a filter goes into every filter chain of a listener"`
		TransportSocket      *document.Node `json:"transportSocket" refuse:"a filter goes into every filter chain of a listener"`
		DestinationPort      *document.Node `json:"destinationPort" refuse:"a filter goes into every filter chain of a listener"`
		Filter               struct {
			Name      string `json:"name"`
			SubFilter struct {
				Name string `json:"name"`
			} `json:"subFilter"`
		} `json:"filter"`
	} `json:"filterChain"`
}

// Envoy's names of the messages of filters.
const (
	wasmName        = "envoy.extensions.filters.http.wasm.v3.Wasm"
	luaName         = "envoy.extensions.filters.http.lua.v3.Lua"
	networkWasmName = "envoy.extensions.filters.network.wasm.v3.Wasm"
)

// maxPriority keeps the filters of an EnvoyFilter within their range of the
// order.
const maxPriority = 1_000_000

// Read collects the patches of an EnvoyFilter.
func (r *patches) Read(d *definition.Doc) {
	var w envoyFilter
	extensions, slots := len(r.extensions), len(r.slots)
	d.Decode(&w)
	if p := w.Spec.Priority; p < -maxPriority || p > maxPriority {
		d.Problem("spec.priority", "", "%d, needs %d to %d", p, -maxPriority, maxPriority)
	}
	d.Labels("spec.workloadSelector.labels", w.Spec.WorkloadSelector.Labels)
	for i, patch := range w.Spec.ConfigPatches {
		if patch.Patch.Value == nil {
			continue // Decode has reported that it is missing
		}
		at := document.Index("spec.configPatches", i)
		if patch.Match.Context == "WAYPOINT" {
			d.Problem(at+".match.context", "SIDECAR_INBOUND, SIDECAR_OUTBOUND, GATEWAY or ANY, as the listeners' direction is", "there are no waypoints here")
		}
		of := envoyPatch{Doc: d, all: r, object: &w, configPatch: patch, nth: i, at: at, value: at + ".patch.value"}
		switch patch.ApplyTo {
		case "EXTENSION_CONFIG":
			of.extension()
		case "HTTP_FILTER":
			of.httpFilter()
		case networkPatch:
			of.networkFilter()
		case "CLUSTER":
			of.cluster()
		case "":
		case "BOOTSTRAP":
			d.Problem(at+".applyTo", "write a Wasm service as a WasmFilter with place: service, and start Envoys by what bootstrap --wasm-service NAME prints",
				"BOOTSTRAP is not applied here, to Envoys that have started")
		default:
			d.Problem(at+".applyTo", "", "%q is not applied here, only EXTENSION_CONFIG, HTTP_FILTER, NETWORK_FILTER and CLUSTER", patch.ApplyTo)
		}
	}
	if d.Failed() {
		r.extensions, r.slots, r.broken = r.extensions[:extensions], r.slots[:slots], true
	}
}

// envoyPatch is one entry of configPatches.
type envoyPatch struct {
	*definition.Doc
	configPatch
	all    *patches // all patches of the file
	object *envoyFilter
	nth    int    // index among its patches
	at     string // path of the patch
	value  string // path of patch.value
}

// extension reads an EXTENSION_CONFIG patch.
func (p envoyPatch) extension() {
	op := p.Patch.Operation
	switch op {
	case "ADD":
	case "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST":
		p.Warn(p.at+".patch.operation", "", "%s counts as ADD, since extension configurations have no order", op)
	default:
		p.Problem(p.at+".patch.operation", "", "%q is not applied to EXTENSION_CONFIG here, only ADD", op)
	}
	if p.Patch.FilterClass != "" {
		p.Problem(p.at+".patch.filterClass", "", "is for HTTP_FILTER")
	}
	if p.Match.Listener != nil {
		p.Warn(p.at+".match.listener", "it belongs into the HTTP_FILTER patch", "is not looked at for EXTENSION_CONFIG, here or in Istio")
	}
	m := &corev3.TypedExtensionConfig{}
	if !p.Message(p.value, p.Patch.Value, m) {
		return
	}
	if m.GetName() == "" {
		p.Problem(p.value+".name", "", "is missing")
		return
	}
	p.FilterName(p.value+".name", m.GetName())
	if f := p.filter(m.GetName(), p.Patch.Value.Locate([]string{"typed_config"})); f != nil {
		p.all.extensions = append(p.all.extensions, extensionPatch{envoyPatch: p, filter: f})
	}
}

// filter reads the Wasm or Lua filter in a field of value.
func (p envoyPatch) filter(name, field string) *definition.Filter {
	f := p.read(p.value+"."+field, p.Patch.Value.Get(field))
	if f != nil {
		f.Name, f.Kind = name, "EnvoyFilter"
		f.Pos.Line = p.Root().LineOf(p.value)
	}
	return f
}

// read reads the filter in the typed_config at a path. It returns nil on an
// error.
func (p envoyPatch) read(at string, config *document.Node) *definition.Filter {
	if script, ok := p.LuaFilter(at, config); script != nil || !ok {
		return script
	}
	wasm, ok := p.Wasm(at, config)
	network := false
	if ok && wasm == nil {
		wasm, ok = p.NetworkWasm(at, config)
		network = wasm != nil
	}
	if !ok {
		return nil
	}
	if wasm == nil {
		p.Problem(at+".@type", "", "is not a Wasm or Lua filter, which is all that is placed here")
		return nil
	}
	vm := wasm.GetConfig().GetVmConfig()
	if vm.GetRuntime() == definition.NullRuntime {
		p.Problem(at, "leave this patch out", "has no module: its code is built into Istio's Envoy (%s)", definition.NullRuntime)
		return nil
	}
	code := vm.GetCode()
	if code.GetRemote() == nil && code.GetLocal().GetFilename() == "" {
		p.Problem(at, "config.vm_config.code.remote.http_uri.uri, or code.local.filename", "has no module that could be fetched")
		return nil
	}
	if remote := code.GetRemote(); remote.GetSha256() == "nil" { // Istio's way to write no hash
		remote.Sha256 = ""
	}
	f := p.WasmFilter(at, wasm, definition.Mirror)
	if f != nil {
		f.Place.Network = network
	}
	return f
}

// httpFilter reads an HTTP_FILTER patch.
func (p envoyPatch) httpFilter() {
	m := &hcmv3.HttpFilter{}
	if !p.Message(p.value, p.Patch.Value, m) {
		return
	}
	if m.GetName() == "" {
		p.Problem(p.value+".name", "", "is missing")
		return
	}
	for _, f := range []struct {
		set  bool
		name string
	}{{m.GetDisabled(), "disabled"}, {m.GetIsOptional(), "is_optional"}} {
		if f.set {
			p.Problem(p.value+"."+p.Patch.Value.Locate([]string{f.name}), "", "is not honoured here")
		}
	}
	p.slot(m.GetName(), m.GetConfigDiscovery(), m.GetTypedConfig() != nil)
}

// slot records the place of a filter, and the filter itself if the patch
// contains it.
func (p envoyPatch) slot(name string, discovery *corev3.ExtensionConfigSource, typed bool) {
	slot := slotPatch{envoyPatch: p, name: name, listener: p.listener()}
	slot.order, slot.stands = p.order()
	switch {
	case discovery != nil:
		slot.types = p.discovery(discovery)
		p.all.slots = append(p.all.slots, slot)
	case typed:
		if saysNothing(slot.name) {
			slot.name = p.object.Metadata.Qualified()
		}
		if f := p.filter(slot.name, p.Patch.Value.Locate([]string{"typed_config"})); f != nil {
			slot.inline = f
			p.all.slots = append(p.all.slots, slot)
			p.all.extensions = append(p.all.extensions, extensionPatch{envoyPatch: p, filter: f, inline: true})
		}
	default:
		p.Problem(p.value, "", "has neither config_discovery nor typed_config")
	}
}

// saysNothing reports whether a name is the default one of a filter's type.
func saysNothing(name string) bool {
	for _, usual := range []string{"filters.http.wasm", "filters.network.wasm", "filters.http.lua"} {
		if strings.HasSuffix(name, usual) {
			return true
		}
	}
	return name == "envoy.wasm" || name == "envoy.lua"
}

// discovery checks a reference to an EXTENSION_CONFIG and returns the message
// types that it accepts.
func (p envoyPatch) discovery(source *corev3.ExtensionConfigSource) (types []string) {
	at := func(steps ...string) string {
		return p.value + "." + p.Patch.Value.Locate(append([]string{"config_discovery"}, steps...))
	}
	if source.GetConfigSource().GetAds() == nil {
		p.Problem(at("config_source"), "config_source: {ads: {}}", "is not ads, the only source here")
	}
	if source.GetDefaultConfig() != nil {
		p.Problem(at("default_config"), "", "is not honoured here: a listener is not served before its filters are ready")
	}
	for _, url := range source.GetTypeUrls() {
		types = append(types, url[strings.LastIndex(url, "/")+1:])
	}
	want := []string{wasmName, luaName}
	if p.isNetwork() {
		want = []string{networkWasmName}
	}
	if !slices.ContainsFunc(types, func(name string) bool { return slices.Contains(want, name) }) {
		p.Problem(at("type_urls"), "", "lacks %s", "type.googleapis.com/"+strings.Join(want, " or type.googleapis.com/"))
	}
	return types
}

// listener returns the listeners that the patch applies to.
func (p envoyPatch) listener() definition.ListenerMatch {
	m := definition.ListenerMatch{Direction: contextDirection(p.Match.Context)}
	l := p.Match.Listener
	if l == nil {
		return m
	}
	if l.PortNumber != 0 {
		m.Ports = []uint32{l.PortNumber}
		p.Ports(p.at+".match.listener.portNumber", m.Ports)
	}
	if l.Name != "" {
		m.Names = []string{l.Name}
	}
	return m
}

func contextDirection(context string) definition.Direction {
	switch context {
	case "SIDECAR_INBOUND":
		return definition.Inbound
	case "SIDECAR_OUTBOUND":
		return definition.Outbound
	case "GATEWAY":
		return definition.Gateway
	}
	return definition.Any
}

// order returns the filter's order and place. Of several patches that insert
// directly before a filter, the last one ends up nearest to that filter. The
// same is true for patches that insert directly after a filter, or first.
func (p envoyPatch) order() (int, definition.Place) {
	nth := int(p.object.Spec.Priority)*1000 + min(len(p.all.slots), 999)
	next, at := p.neighbour()
	end := definition.IsRouter(next)
	if p.isNetwork() {
		end = definition.IsTerminal(next)
	}
	class := p.Patch.FilterClass
	if class != "" && p.Patch.Operation != "ADD" {
		p.Problem(p.at+".patch.filterClass", "", "is for operation: ADD")
	}
	switch op := p.Patch.Operation; {
	case op == "ADD" && next != "":
		p.Problem(at, "", "has no meaning for ADD")
	case op == "ADD":
		order, place := classPlace(class)
		return order + nth, p.of(place)
	case op == "INSERT_BEFORE" && end && p.isNetwork(): // only in chains that end with it
		return phaseStep + nth, p.of(definition.Place{At: definition.First, Before: next})
	case op == "INSERT_BEFORE" && end:
		return phaseStep + nth, definition.Place{At: definition.Last}
	case op == "INSERT_BEFORE" && next != "":
		return -4*phaseStep + nth, p.of(definition.Place{At: definition.First, Before: next})
	case op == "INSERT_BEFORE", op == "INSERT_FIRST":
		return -4*phaseStep - nth, p.of(definition.Place{At: definition.First})
	case op == "INSERT_AFTER" && (next == "" || end) && p.isNetwork():
		p.Problem(p.at+".patch.operation", "INSERT_BEFORE it", "a filter after the last one of a chain never runs")
	case op == "INSERT_AFTER" && (next == "" || end):
		p.Problem(p.at+".patch.operation", "INSERT_BEFORE the router", "a filter after the router never runs")
	case op == "INSERT_AFTER":
		return phaseStep - nth, p.of(definition.Place{At: definition.Last, After: next})
	default:
		p.Problem(p.at+".patch.operation", "", "%q is not applied to %s here, only ADD, INSERT_BEFORE, INSERT_AFTER and INSERT_FIRST", op, p.ApplyTo)
	}
	return 0, p.of(definition.Place{At: definition.Last})
}

// classPlace places a filter class among the phases of WasmPlugins: a class is
// behind the filters that it is named for, a phase before them.
func classPlace(class string) (order int, place definition.Place) {
	switch class {
	case "AUTHN":
		return orderAuthZ, definition.Place{At: definition.AuthZ}
	case "AUTHZ", "STATS":
		return orderStats, definition.Place{At: definition.Stats}
	}
	return orderNormal, definition.Place{At: definition.Last}
}

// cluster reads a CLUSTER patch.
func (p envoyPatch) cluster() {
	if p.Patch.Operation != "ADD" {
		p.Problem(p.at+".patch.operation", "", "%q is not applied to CLUSTER here, only ADD", p.Patch.Operation)
		return
	}
	m := &clusterv3.Cluster{}
	if p.Message(p.value, p.Patch.Value, m) && p.Validate(p.value, p.Patch.Value, m) {
		if m.GetName() == "" {
			p.Problem(p.value+".name", "", "is missing")
			return
		}
		p.AddResource(m, map[string]string{"name": p.value + ".name"})
	}
}
