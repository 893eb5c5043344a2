package gateway

import (
	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

type policyWasm struct {
	Name     string         `json:"name"`
	RootID   string         `json:"rootID"`
	Code     policyCode     `json:"code" jsonschema:"required"`
	Config   *document.Node `json:"config"`
	FailOpen bool           `json:"failOpen"`
	Env      struct {
		HostKeys []string `json:"hostKeys"`
	} `json:"env"`
}

type policyCode struct {
	Type       string       `json:"type" jsonschema:"required,enum=HTTP,enum=Image"`
	HTTP       *policyHTTP  `json:"http"`
	Image      *policyImage `json:"image"`
	PullPolicy string       `json:"pullPolicy" jsonschema:"enum=IfNotPresent,enum=Always"`
}

type policyHTTP struct {
	URL    string         `json:"url" jsonschema:"required"`
	SHA256 string         `json:"sha256"`
	TLS    *document.Node `json:"tls" refuse:"is given to xds-server: --module-ca"`
}

type policyImage struct {
	URL           string         `json:"url" jsonschema:"required"`
	SHA256        string         `json:"sha256"`
	TLS           *document.Node `json:"tls" refuse:"is given to xds-server: --module-ca"`
	PullSecretRef *struct {
		Group     string `json:"group"`
		Kind      string `json:"kind" jsonschema:"enum=Secret"`
		Name      string `json:"name" jsonschema:"required"`
		Namespace string `json:"namespace"`
	} `json:"pullSecretRef"`
}

// policyLua is a script.
type policyLua struct {
	Type          string         `json:"type" jsonschema:"enum=Inline,enum=ValueRef"`
	Inline        string         `json:"inline"`
	ValueRef      *document.Node `json:"valueRef" refuse:"ConfigMaps are not read here; write the script itself as inline"`
	FilterContext *document.Node `json:"filterContext" refuse:"is not passed to scripts here; write the values into the script"`
}

// luaExtension returns the filter of the script at a path, without its name,
// attachment and order. What is written there is the item.
func luaExtension(d *definition.Doc, at string, lua policyLua, item *document.Node) *definition.Filter {
	inline := item.Get("inline")
	switch {
	case lua.Type == "ValueRef":
		if item.Get("valueRef") == nil { // else Decode has reported it
			d.Problem(at+".type", "write the script itself as inline", "ConfigMaps are not read here")
		}
	case inline == nil && item.Get("valueRef") == nil:
		d.Problem(at+".inline", "write inline: | and the script below it", "is missing")
	case inline != nil && inline.Kind == document.Text:
		d.Script(at+".inline", lua.Inline)
	}
	return &definition.Filter{
		Kind: "EnvoyExtensionPolicy", Pos: d.PosOf(at), Lua: &definition.Lua{Script: lua.Inline},
		Place: definition.Place{At: definition.Last}, OnFailure: definition.Closed,
	}
}

// wasmExtension returns the filter of the module at a path, without its name,
// attachment and order.
func wasmExtension(d *definition.Doc, at string, wasm policyWasm, namespace string) *definition.Filter {
	f := &definition.Filter{
		Kind: "EnvoyExtensionPolicy", Pos: d.PosOf(at), Module: policyModule(d, at+".code", wasm.Code),
		// Without a configuration, it is empty text; with one, it is always
		// JSON.
		Config: definition.TextConfig(""),
		RootID: wasm.RootID, Place: definition.Place{At: definition.Last},
		OnFailure: definition.Closed, HostEnv: wasm.Env.HostKeys, Verify: definition.VerifyRun,
	}
	if image := wasm.Code.Image; image != nil && image.PullSecretRef != nil {
		if ns := image.PullSecretRef.Namespace; ns != "" && ns != namespace {
			d.Problem(at+".code.image.pullSecretRef.namespace", "leave it out, and give the secret's name in --pull-secrets", "is not the policy's own: secrets have no namespaces here")
		}
	}
	if wasm.Config != nil {
		f.Config = definition.TextConfig(string(wasm.Config.JSON()))
	}
	if wasm.FailOpen {
		f.OnFailure = definition.Open
	}
	for j, key := range f.HostEnv {
		d.Variable(document.Index(at+".env.hostKeys", j), key)
	}
	return f
}

func policyModule(d *definition.Doc, at string, code policyCode) definition.Module {
	m := definition.Module{Fetch: definition.Mirror, Pull: definition.PullPolicyOf(code.PullPolicy)}
	switch {
	case code.Type == "HTTP" && code.HTTP == nil:
		d.Problem(at+".http", "", "is missing")
	case code.Type == "HTTP" && code.Image != nil:
		d.Problem(at+".image", "", "can't be combined with type: HTTP")
	case code.Type == "HTTP":
		m.URL = d.ModuleURL(at+".http.url", code.HTTP.URL)
		m.SHA256 = d.SHA256(at+".http.sha256", code.HTTP.SHA256)
		if code.HTTP.URL != "" && !definition.IsHTTP(code.HTTP.URL) {
			d.Problem(at+".http.url", "", "needs http:// or https://")
		}
	case code.Type == "Image" && code.Image == nil:
		d.Problem(at+".image", "", "is missing")
	case code.Type == "Image" && code.HTTP != nil:
		d.Problem(at+".http", "", "can't be combined with type: Image")
	case code.Type == "Image" && code.Image.URL != "":
		m.URL = d.Image(at+".image.url", code.Image.URL, at+".image.sha256", code.Image.SHA256)
		if code.Image.PullSecretRef != nil {
			m.PullSecret = code.Image.PullSecretRef.Name
		}
	}
	return m
}
