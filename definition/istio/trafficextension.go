package istio

import (
	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// trafficExtension is Istio's TrafficExtension, extensions.istio.io/v1alpha1,
// the successor of WasmPlugin. All of its fields are here: those that are not
// supported are rejected by name.
//
// https://istio.io/latest/docs/reference/config/proxy_extensions/traffic_extension/
type trafficExtension struct {
	APIVersion string               `json:"apiVersion" jsonschema:"required,enum=extensions.istio.io/v1alpha1"`
	Kind       string               `json:"kind"`
	Metadata   definition.Metadata  `json:"metadata" jsonschema:"required"`
	Spec       trafficExtensionSpec `json:"spec" jsonschema:"required"`
	Status     *document.Node       `json:"status"`
}

type trafficExtensionSpec struct {
	extension
	Phase string      `json:"phase" jsonschema:"enum=UNSPECIFIED,enum=AUTHN,enum=AUTHZ,enum=STATS"`
	Wasm  *wasmConfig `json:"wasm"`
	Lua   *luaConfig  `json:"lua"`
}

type luaConfig struct {
	InlineCode string `json:"inlineCode" jsonschema:"required"`
}

// trafficExtensions reads each TrafficExtension by itself.
type trafficExtensions struct{}

// End does nothing.
func (trafficExtensions) End() {}

// Unrelated returns false: a TrafficExtension always concerns filters.
func (trafficExtensions) Unrelated(*definition.Doc) bool { return false }

// Read adds the filter of a TrafficExtension.
func (trafficExtensions) Read(d *definition.Doc) {
	var t trafficExtension
	d.Decode(&t)
	f := &definition.Filter{}
	switch spec := t.Spec; {
	case spec.Wasm != nil && spec.Lua != nil:
		d.Problem("spec.lua", "write one of them", "can't be combined with wasm")
	case spec.Wasm != nil:
		f = spec.Wasm.filter(d, "spec.wasm")
	case spec.Lua != nil:
		f = &definition.Filter{Pos: d.Pos(), Lua: &definition.Lua{Script: spec.Lua.InlineCode}, OnFailure: definition.Closed}
		if spec.Lua.InlineCode != "" { // else Decode has reported it
			d.Script("spec.lua.inlineCode", spec.Lua.InlineCode)
		}
	case d.Root().Get("spec").Get("wasm") == nil && d.Root().Get("spec").Get("lua") == nil && d.Root().Get("spec") != nil:
		d.Problem("spec", "wasm: with the url of a module, or lua: with inlineCode", "has neither wasm nor lua")
	}
	f.Kind = "TrafficExtension"
	t.Spec.add(d, f, t.Metadata, t.Spec.Phase, t.Spec.targets(), map[string]string{"config": "spec.wasm.pluginConfig", "inline": "spec.lua.inlineCode"})
}
