package definition

import (
	"strconv"

	"wasmxds/definition/internal/document"
)

// extensionPolicy is Envoy Gateway's EnvoyExtensionPolicy,
// gateway.envoyproxy.io/v1alpha1. A policy is attached to listeners by the
// sectionName of its targets, which is taken for a listener's name; the
// Gateway API's objects themselves are not known here. Other kinds of
// extension are refused by name.
//
// https://gateway.envoyproxy.io/docs/api/extension_types/
type extensionPolicy struct {
	APIVersion string              `json:"apiVersion" jsonschema:"required,enum=gateway.envoyproxy.io/v1alpha1"`
	Kind       string              `json:"kind"`
	Metadata   metadata            `json:"metadata" jsonschema:"required"`
	Spec       extensionPolicySpec `json:"spec" jsonschema:"required"`
	Status     *document.Node      `json:"status"`
}

type extensionPolicySpec struct {
	TargetRef       *policyTarget  `json:"targetRef"`
	TargetRefs      []policyTarget `json:"targetRefs"`
	TargetSelectors *document.Node `json:"targetSelectors" refuse:"Gateway API objects are not known here; name a listener by targetRefs[].sectionName"`
	MergeType       *document.Node `json:"mergeType" refuse:"there are no routes' policies to merge here"`
	Wasm            []policyWasm   `json:"wasm" jsonschema:"required"`
	ExtProc         *document.Node `json:"extProc" refuse:"is not served here, only wasm"`
	Lua             *document.Node `json:"lua" refuse:"is not served here, only wasm"`
	DynamicModule   *document.Node `json:"dynamicModule" refuse:"is not served here, only wasm"`
}

type policyTarget struct {
	Group       string `json:"group" jsonschema:"required,enum=gateway.networking.k8s.io"`
	Kind        string `json:"kind" jsonschema:"required"`
	Name        string `json:"name" jsonschema:"required"`
	SectionName string `json:"sectionName"`
}

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
	TLS    *document.Node `json:"tls" refuse:"certificates are xds-server's to configure"`
}

type policyImage struct {
	URL           string         `json:"url" jsonschema:"required"`
	SHA256        string         `json:"sha256"`
	TLS           *document.Node `json:"tls" refuse:"certificates are xds-server's to configure"`
	PullSecretRef *struct {
		Group     string         `json:"group"`
		Kind      string         `json:"kind" jsonschema:"enum=Secret"`
		Name      string         `json:"name" jsonschema:"required"`
		Namespace *document.Node `json:"namespace" refuse:"there are no namespaces here"`
	} `json:"pullSecretRef"`
}

func readExtensionPolicy(d *doc) {
	var w extensionPolicy
	ok := d.decode(&w)
	before := len(d.problems)
	attach := d.policyTargets(w.Spec)
	var filters []*Filter
	for i, wasm := range w.Spec.Wasm {
		at := document.Index("spec.wasm", i)
		part := wasm.Name
		if part == "" {
			part = strconv.Itoa(i)
		}
		f := &Filter{
			Name: w.Metadata.qualified() + "." + part, Kind: "EnvoyExtensionPolicy",
			Pos:    Position{File: d.file.Name, Line: d.root.LineOf(at)},
			Module: d.policyModule(at+".code", wasm.Code),
			// Without a configuration it is the empty text; with one always JSON.
			Config: stringValue(""),
			RootID: wasm.RootID, Attach: attach, Order: i,
			OnFailure: Closed, HostEnv: wasm.Env.HostKeys, Verify: VerifyRun,
		}
		f.VMID = f.Name // no VM is shared
		if wasm.Config != nil {
			f.Config = stringValue(string(wasm.Config.JSON()))
		}
		if wasm.FailOpen {
			f.OnFailure = Open
		}
		for j, key := range f.HostEnv {
			d.variable(document.Index(at+".env.hostKeys", j), key)
		}
		d.filterName(at+".name", f.Name)
		filters = append(filters, f)
	}
	if !ok || len(d.problems) > before {
		return
	}
	for i, f := range filters {
		d.addFilter(f, map[string]string{"name": document.Index("spec.wasm", i) + ".name", "attach": "spec.targetRefs"})
	}
}

func (d *doc) policyTargets(spec extensionPolicySpec) Attach {
	var targets []policyTarget
	var at []string
	if spec.TargetRef != nil {
		targets, at = append(targets, *spec.TargetRef), append(at, "spec.targetRef")
	}
	for i, t := range spec.TargetRefs {
		targets, at = append(targets, t), append(at, document.Index("spec.targetRefs", i))
	}
	if len(targets) == 0 {
		d.problem("spec.targetRefs", "", "is missing")
	}
	var names []string
	for i, t := range targets {
		switch {
		case t.Kind == "":
		case t.Kind != "Gateway":
			d.problem(at[i]+".kind", "kind: Gateway, and sectionName for the listener", "%s is a Gateway API object, which are not known here", t.Kind)
		case t.SectionName == "":
			d.problem(at[i]+".sectionName", "name the listener", "is missing: the listeners of Gateway %s are not known here", t.Name)
		default:
			names = append(names, t.SectionName)
		}
	}
	return Attach{Listeners: []ListenerMatch{{Direction: Any, Names: names}}}
}

func (d *doc) policyModule(at string, code policyCode) Module {
	m := Module{Fetch: Mirror, Pull: pullPolicy(code.PullPolicy)}
	switch {
	case code.Type == "HTTP" && code.HTTP == nil:
		d.problem(at+".http", "", "is missing")
	case code.Type == "HTTP" && code.Image != nil:
		d.problem(at+".image", "", "can't be together with type: HTTP")
	case code.Type == "HTTP":
		m.URL = d.moduleURL(at+".http.url", code.HTTP.URL)
		m.SHA256 = d.sha256(at+".http.sha256", code.HTTP.SHA256)
		if code.HTTP.URL != "" && !isHTTP(code.HTTP.URL) {
			d.problem(at+".http.url", "", "needs http:// or https://")
		}
	case code.Type == "Image" && code.Image == nil:
		d.problem(at+".image", "", "is missing")
	case code.Type == "Image" && code.HTTP != nil:
		d.problem(at+".http", "", "can't be together with type: Image")
	case code.Type == "Image" && code.Image.URL != "":
		m.URL = d.image(at+".image.url", code.Image.URL, at+".image.sha256", code.Image.SHA256)
		if code.Image.PullSecretRef != nil {
			m.PullSecret = code.Image.PullSecretRef.Name
		}
	}
	return m
}
