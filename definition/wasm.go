package definition

import (
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/wasm/v3"
	vmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition/internal/document"
)

const wasmName = "envoy.extensions.filters.http.wasm.v3.Wasm"

// extensionHints are fields for xds-server alone that may be written beside
// those of a TypedExtensionConfig.
type extensionHints struct {
	Fetch  Fetch  `json:"fetch,omitempty" jsonschema:"enum=mirror,enum=direct" jsonschema_description:"Of a TypedExtensionConfig that holds a Wasm filter: as in WasmFilter."`
	Verify Verify `json:"verify,omitempty" jsonschema:"enum=run,enum=abi" jsonschema_description:"Of a TypedExtensionConfig that holds a Wasm filter: as in WasmFilter."`
}

// readExtension reads a TypedExtensionConfig. One that holds a Wasm filter with
// remote or local code becomes a Filter; any other is served unchanged.
func readExtension(d *Doc, m *corev3.TypedExtensionConfig) {
	var hints extensionHints
	ok := true
	for _, key := range document.Names(hints) {
		if n := d.root.Get(key); n != nil {
			only := &document.Node{Kind: document.Object, Line: n.Line, Fields: []document.Field{{Key: key, Line: d.root.LineOf(key), Value: n}}}
			found := only.Decode(&hints, "")
			d.report(found)
			ok = ok && len(found) == 0
		}
	}
	body := d.root.Without(append(document.Names(hints), "@type")...)
	if !d.Message("", body, m) {
		return
	}
	at := d.root.Locate([]string{"typed_config"})
	wasm, readable := d.Wasm(at, d.root.Get(at))
	network := false
	if wasm == nil && readable {
		wasm, readable = d.NetworkWasm(at, d.root.Get(at))
		network = wasm != nil
	}
	if !d.rawName(m) || !readable || !ok {
		return
	}
	code := wasm.GetConfig().GetVmConfig().GetCode()
	filename := code.GetLocal().GetFilename()
	if code.GetRemote() == nil && filename == "" || filename != "" && hints.Fetch == Direct {
		for _, key := range document.Names(hints) {
			if d.root.Get(key) != nil && filename == "" {
				d.Problem(key, "", "is for Wasm filters with remote or local code")
				ok = false
			}
		}
		if ok && d.Validate("", body, m) {
			d.AddResource(m, nil)
		}
		return
	}
	if f := d.WasmFilter(at, wasm, hints.Fetch); f != nil {
		f.Name, f.Kind = m.GetName(), "TypedExtensionConfig"
		f.Place.Network = network
		if hints.Verify != "" {
			f.Verify = hints.Verify
		}
		d.AddFilter(f, map[string]string{"name": "name"})
	}
}

// Wasm reads the Wasm filter in a typed_config, either bare or in a
// TypedStruct. It returns nil if there is none, and false if there was an
// error.
func (d *Doc) Wasm(path string, n *document.Node) (*wasmv3.Wasm, bool) {
	path, body := wasmBody(path, n)
	if body == nil {
		return nil, true
	}
	m := &wasmv3.Wasm{}
	return m, d.Message(path, body, m)
}

// NetworkWasm is like Wasm for a Wasm network filter. It returns the same
// plugin in an HTTP filter.
func (d *Doc) NetworkWasm(path string, n *document.Node) (*wasmv3.Wasm, bool) {
	path, body := bodyOf(path, n, networkWasmName)
	if body == nil {
		return nil, true
	}
	m := &networkv3.Wasm{}
	ok := d.Message(path, body, m)
	return &wasmv3.Wasm{Config: m.GetConfig()}, ok
}

// wasmBody returns the fields of a Wasm filter in a typed_config, or nil if it
// holds something else.
func wasmBody(path string, n *document.Node) (string, *document.Node) {
	return bodyOf(path, n, wasmName)
}

// bodyOf returns the fields of a message of that name in a typed_config, either
// bare or in a TypedStruct, and their path. It returns nil if the typed_config
// holds something else.
func bodyOf(path string, n *document.Node, name string) (string, *document.Node) {
	if n == nil {
		return "", nil
	}
	switch typeName(n.Get("@type")) {
	case name:
		return path, n.Without("@type")
	case "udpa.type.v1.TypedStruct", "xds.type.v3.TypedStruct":
		inner := n.Get("type_url")
		if inner == nil {
			inner = n.Get("typeUrl")
		}
		if typeName(inner) == name && n.Get("value") != nil {
			return path + ".value", n.Get("value")
		}
	}
	return "", nil
}

// typeName returns a type URL without what precedes the last slash.
func typeName(n *document.Node) string {
	if n == nil {
		return ""
	}
	return n.Text[strings.LastIndex(n.Text, "/")+1:]
}

// WasmFilter makes a filter from Envoy's own message, whose code is remote or
// in a local file. What xds-server sets itself when it mirrors the module
// (cluster, timeout, hash) may be missing. It returns nil on an error.
func (d *Doc) WasmFilter(path string, wasm *wasmv3.Wasm, fetch Fetch) *Filter {
	before := len(d.problems)
	if n := d.at(path); n != nil && !slices.Contains([]string{wasmName, networkWasmName, wasmLoggerName}, typeName(n.Get("@type"))) {
		path += ".value"
	}
	plugin := wasm.GetConfig()
	vm := plugin.GetVmConfig()
	f := &Filter{
		Pos: d.Pos(), Wasm: wasm, Verify: VerifyRun, Place: Place{At: Last},
		Config: plugin.GetConfiguration(), VMConfig: vm.GetConfiguration(),
		RootID: plugin.GetRootId(), VMID: vm.GetVmId(),
		OnFailure: onFailure(plugin),
		Env:       vm.GetEnvironmentVariables().GetKeyValues(),
		HostEnv:   vm.GetEnvironmentVariables().GetHostEnvKeys(),
		Allow:     allowed(plugin),
	}
	if fetch == "" {
		fetch = Mirror
	}
	if vm.GetRuntime() == NullRuntime {
		d.Problem(joinPath(path, d.at(path).Locate([]string{"config", "vm_config", "runtime"})), "", "has no modules: its filters are built into Envoy")
	}
	if base := plugin.GetReloadConfig().GetBackoff().GetBaseInterval(); base != nil && base.AsDuration() < minReload {
		d.Problem(joinPath(path, d.at(path).Locate([]string{"config", "reload_config", "backoff", "base_interval"})), "100ms is a good value",
			"%v: Envoy ends itself with less than %v when the module traps", base.AsDuration(), minReload)
	}
	f.Module = d.wasmModule(path, vm.GetCode(), fetch)
	valid := proto.CloneOf(wasm)
	if fetch == Mirror {
		completeCode(valid.GetConfig().GetVmConfig().GetCode())
	}
	d.Validate(path, d.at(path), valid)
	if len(d.problems) > before {
		return nil
	}
	return f
}

func (d *Doc) wasmModule(path string, code *corev3.AsyncDataSource, fetch Fetch) Module {
	at := func(steps ...string) string {
		steps = append([]string{"config", "vm_config", "code"}, steps...)
		return joinPath(path, d.at(path).Locate(steps))
	}
	if filename := code.GetLocal().GetFilename(); filename != "" {
		return Module{URL: d.ModuleURL(at("local", "filename"), filename), Fetch: fetch}
	}
	remote := code.GetRemote()
	uri := remote.GetHttpUri().GetUri()
	m := Module{SHA256: d.SHA256(at("remote", "sha256"), remote.GetSha256()), Fetch: fetch}
	switch {
	case uri == "":
		d.Problem(at("remote", "http_uri", "uri"), "", "is missing")
	case !strings.Contains(uri, "://"):
		d.Problem(at("remote", "http_uri", "uri"), "a file is written as code.local.filename", "%q is not a URL", uri)
	case fetch == Direct && !IsHTTP(uri):
		d.Problem("fetch", "use mirror", "direct needs http:// or https://, since Envoy fetches nothing else")
	default:
		m.URL = d.ModuleURL(at("remote", "http_uri", "uri"), uri)
	}
	return m
}

// completeCode adds what Envoy requires for remote code and xds-server sets.
func completeCode(code *corev3.AsyncDataSource) {
	remote := code.GetRemote()
	if remote.GetHttpUri() == nil {
		return
	}
	if remote.Sha256 == "" {
		remote.Sha256 = strings.Repeat("0", 64)
	}
	if remote.HttpUri.Timeout == nil {
		remote.HttpUri.Timeout = durationpb.New(0)
	}
	if remote.HttpUri.GetCluster() == "" {
		remote.HttpUri.HttpUpstreamType = &corev3.HttpUri_Cluster{Cluster: "mirror"}
	}
}

// minReload is the smallest base interval of a reload with which Envoy does not
// divide by zero: 1 ms crashes 1.40.0 with SIGFPE.
const minReload = 2 * time.Millisecond

func onFailure(plugin *vmv3.PluginConfig) OnFailure {
	switch plugin.GetFailurePolicy() {
	case vmv3.FailurePolicy_FAIL_OPEN:
		return Open
	case vmv3.FailurePolicy_FAIL_RELOAD:
		return Reload
	case vmv3.FailurePolicy_UNSPECIFIED:
		//lint:ignore SA1019 deprecated, and what most definitions have
		if plugin.GetFailOpen() {
			return Open
		}
	}
	return Closed
}

// allowed returns the host calls that a plugin is restricted to. If it is not
// restricted, it returns nil.
func allowed(plugin *vmv3.PluginConfig) []string {
	//lint:ignore SA1019 deprecated in Envoy 1.40, and the only one before
	restriction := plugin.GetCapabilityRestrictionConfig()
	if of := plugin.GetVmConfig().GetCapabilityRestrictionConfig(); of != nil {
		restriction = of
	}
	return slices.Sorted(maps.Keys(restriction.GetAllowedCapabilities()))
}

// at returns the node at a path; for "", the document itself.
func (d *Doc) at(path string) *document.Node { return d.root.At(path) }

// NullRuntime is the runtime of filters whose code is built into Envoy.
const NullRuntime = "envoy.wasm.runtime.null"
