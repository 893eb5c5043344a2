package istio

import (
	"strings"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// wasmConfig is a Wasm plugin in the spec of a WasmPlugin, or in the spec.wasm
// of a TrafficExtension.
type wasmConfig struct {
	URL             string         `json:"url" jsonschema:"required"`
	SHA256          string         `json:"sha256"`
	ImagePullPolicy string         `json:"imagePullPolicy" jsonschema:"enum=UNSPECIFIED_POLICY,enum=IfNotPresent,enum=Always"`
	ImagePullSecret string         `json:"imagePullSecret"`
	VerificationKey string         `json:"verificationKey"`
	PluginConfig    *document.Node `json:"pluginConfig"`
	PluginName      string         `json:"pluginName"`
	FailStrategy    string         `json:"failStrategy" jsonschema:"enum=FAIL_CLOSE,enum=FAIL_OPEN,enum=FAIL_RELOAD"`
	VMConfig        struct {
		Env []environment `json:"env"`
	} `json:"vmConfig"`
	Type string `json:"type" jsonschema:"enum=UNSPECIFIED_PLUGIN_TYPE,enum=HTTP,enum=NETWORK"`
}

type environment struct {
	Name      string  `json:"name" jsonschema:"required"`
	Value     *string `json:"value"`
	ValueFrom string  `json:"valueFrom" jsonschema:"enum=INLINE,enum=HOST"`
}

// filter returns the plugin, which is written at a path, as a filter without
// name and place.
func (w wasmConfig) filter(d *definition.Doc, at string) *definition.Filter {
	f := &definition.Filter{
		Pos:    d.Pos(),
		Module: w.module(d, at),
		RootID: w.PluginName,
		Verify: definition.VerifyRun,
	}
	switch w.FailStrategy {
	case "FAIL_OPEN":
		f.OnFailure = definition.Open
	case "FAIL_RELOAD":
		f.OnFailure = definition.Reload
	default:
		f.OnFailure = definition.Closed
	}
	if w.PluginConfig != nil {
		if w.PluginConfig.Kind != document.Object {
			d.Problem(at+".pluginConfig", "", "%s, needs %s", w.PluginConfig.Kind, document.Object)
		}
		f.Config = definition.TextConfig(string(w.PluginConfig.JSON()))
	}
	f.Place.Network = w.Type == "NETWORK"
	pluginEnv(d, f, at+".vmConfig.env", w.VMConfig.Env)
	return f
}

func (w wasmConfig) module(d *definition.Doc, at string) definition.Module {
	m := definition.Module{Fetch: definition.Mirror, Pull: definition.PullPolicyOf(w.ImagePullPolicy), PullSecret: w.ImagePullSecret}
	if strings.Contains(w.URL, "://") && !strings.HasPrefix(w.URL, "oci://") {
		m.URL = d.ModuleURL(at+".url", w.URL)
		m.SHA256 = d.SHA256(at+".sha256", w.SHA256)
		if w.ImagePullSecret != "" {
			d.Problem(at+".imagePullSecret", "", "is for oci:// only")
		}
		if w.VerificationKey != "" {
			d.Problem(at+".verificationKey", "publish it in a registry and sign it there, or pin it by sha256", "is for oci:// only")
		}
	} else if w.URL != "" {
		m.URL = d.Image(at+".url", w.URL, at+".sha256", w.SHA256)
		if w.VerificationKey != "" {
			m.Signed = d.VerificationKey(at+".verificationKey", w.VerificationKey)
		}
	}
	return m
}

func pluginEnv(d *definition.Doc, f *definition.Filter, path string, env []environment) {
	seen := map[string]bool{}
	for i, e := range env {
		at := document.Index(path, i)
		d.Variable(at+".name", e.Name)
		if seen[e.Name] {
			d.Problem(at+".name", "", "%s is there twice", e.Name)
		}
		seen[e.Name] = true
		switch {
		case e.ValueFrom == "HOST" && e.Value != nil:
			d.Problem(at+".value", "", "can't be combined with valueFrom: HOST")
		case e.ValueFrom == "HOST":
			f.HostEnv = append(f.HostEnv, e.Name)
		default:
			if f.Env == nil {
				f.Env = map[string]string{}
			}
			f.Env[e.Name] = ""
			if e.Value != nil {
				f.Env[e.Name] = *e.Value
			}
		}
	}
}
