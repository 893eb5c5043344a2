package istio

import (
	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// wasmPlugin is Istio's WasmPlugin, extensions.istio.io/v1alpha1. All of its
// fields are here: those that are not supported are rejected by name.
//
// https://istio.io/latest/docs/reference/config/proxy_extensions/wasm-plugin/
type wasmPlugin struct {
	APIVersion string              `json:"apiVersion" jsonschema:"required,enum=extensions.istio.io/v1alpha1"`
	Kind       string              `json:"kind"`
	Metadata   definition.Metadata `json:"metadata" jsonschema:"required"`
	Spec       wasmPluginSpec      `json:"spec" jsonschema:"required"`
	Status     *document.Node      `json:"status"`
}

type wasmPluginSpec struct {
	extension
	wasmConfig
	TargetRef *targetReference `json:"targetRef"`
	Phase     string           `json:"phase" jsonschema:"enum=UNSPECIFIED_PHASE,enum=AUTHN,enum=AUTHZ,enum=STATS"`
}

// Read adds the filter of a WasmPlugin.
func (wasmPlugins) Read(d *definition.Doc) {
	var w wasmPlugin
	d.Decode(&w)
	f := w.Spec.filter(d, "spec")
	f.Kind = "WasmPlugin"
	targets := w.Spec.targets()
	if w.Spec.TargetRef != nil {
		targets = append([]target{{"spec.targetRef", *w.Spec.TargetRef}}, targets...)
	}
	w.Spec.add(d, f, w.Metadata, w.Spec.Phase, targets, map[string]string{"config": "spec.pluginConfig"})
}
