// Package istio reads Istio's kinds of definitions: TrafficExtension,
// WasmPlugin, and EnvoyFilter as far as it places Wasm and Lua filters. Start
// with [Kinds].
package istio

import "wasmxds/definition"

// Kinds returns the kinds of Istio that are supported.
func Kinds() []definition.Kind {
	return []definition.Kind{
		{Name: "WasmPlugin", Group: "extensions.istio.io", New: func() definition.Reader { return wasmPlugins{} }},
		{Name: "TrafficExtension", Group: "extensions.istio.io", New: func() definition.Reader { return trafficExtensions{} }},
		{Name: "EnvoyFilter", New: func() definition.Reader { return &patches{} }},
	}
}

// wasmPlugins reads each WasmPlugin by itself.
type wasmPlugins struct{}

// End does nothing.
func (wasmPlugins) End() {}
