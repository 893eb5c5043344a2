package definition

import (
	"strconv"

	"wasmxds/definition/internal/document"
)

// extensionPolicy is Envoy Gateway's EnvoyExtensionPolicy,
// gateway.envoyproxy.io/v1alpha1. A policy is attached to listeners by the
// sectionName of its targets, which is taken for a listener's name, or without
// it to all listeners of direction gateway; the Gateway API's objects
// themselves are not known here. Other kinds of extension are refused by name.
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
	TargetRef       *policyTarget    `json:"targetRef"`
	TargetRefs      []policyTarget   `json:"targetRefs"`
	TargetSelectors []policySelector `json:"targetSelectors"`
	Priority        int32            `json:"priority"` // of older versions
	MergeType       *document.Node   `json:"mergeType" refuse:"there are no routes' policies to merge here; leave it out"`
	Wasm            []policyWasm     `json:"wasm" jsonschema:"required"`
	ExtProc         *document.Node   `json:"extProc" refuse:"is not served here, only wasm; leave it out"`
	Lua             *document.Node   `json:"lua" refuse:"is not served here, only wasm; leave it out"`
	DynamicModule   *document.Node   `json:"dynamicModule" refuse:"is not served here, only wasm; leave it out"`
}

type policyTarget struct {
	Group       string `json:"group" jsonschema:"required,enum=gateway.networking.k8s.io"`
	Kind        string `json:"kind" jsonschema:"required"`
	Name        string `json:"name" jsonschema:"required"`
	SectionName string `json:"sectionName"`
	Namespace   string `json:"namespace"` // of older versions
}

type policySelector struct {
	Group            string         `json:"group" jsonschema:"enum=gateway.networking.k8s.io"`
	Kind             string         `json:"kind" jsonschema:"required"`
	MatchLabels      *document.Node `json:"matchLabels" refuse:"Gateways' labels are not known here; name the Gateway in targetRefs"`
	MatchExpressions *document.Node `json:"matchExpressions" refuse:"Gateways' labels are not known here; name the Gateway in targetRefs"`
	Namespaces       struct {
		From     string         `json:"from" jsonschema:"enum=Same,enum=All,enum=Selector"`
		Selector *document.Node `json:"selector" refuse:"there are no namespaces here; name the Gateway in targetRefs"`
	} `json:"namespaces"`
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

func readExtensionPolicy(d *doc) {
	var w extensionPolicy
	ok := d.decode(&w)
	before := len(d.problems)
	attach := d.policyTargets(w.Spec, w.Metadata.Namespace)
	if p := w.Spec.Priority; p < -maxPriority || p > maxPriority {
		d.problem("spec.priority", "", "%d, needs %d to %d", p, -maxPriority, maxPriority)
	}
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
			RootID: wasm.RootID, Attach: attach, Order: 1000*int(w.Spec.Priority) + i, Place: Place{At: Last},
			OnFailure: Closed, HostEnv: wasm.Env.HostKeys, Verify: VerifyRun,
		}
		f.VMID = f.Name // no VM is shared
		if image := wasm.Code.Image; image != nil && image.PullSecretRef != nil {
			if ns := image.PullSecretRef.Namespace; ns != "" && ns != w.Metadata.Namespace {
				d.problem(at+".code.image.pullSecretRef.namespace", "leave it out, and give the secret's name in --pull-secrets", "is not the policy's own: secrets have no namespaces here")
			}
		}
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
	if !ok || !onlyWarnings(d.problems[before:]) {
		return
	}
	for i, f := range filters {
		d.addFilter(f, map[string]string{"name": document.Index("spec.wasm", i) + ".name", "attach": "spec.targetRefs"})
	}
}

func (d *doc) policyTargets(spec extensionPolicySpec, namespace string) Attach {
	var targets []policyTarget
	var at []string
	if spec.TargetRef != nil {
		targets, at = append(targets, *spec.TargetRef), append(at, "spec.targetRef")
	}
	for i, t := range spec.TargetRefs {
		targets, at = append(targets, t), append(at, document.Index("spec.targetRefs", i))
	}
	if len(targets)+len(spec.TargetSelectors) == 0 {
		d.problem("spec.targetRefs", "", "is missing")
	}
	var names []string
	all := false
	for i, t := range targets {
		d.policyKind(at[i]+".kind", t.Kind)
		if t.Namespace != "" && t.Namespace != namespace {
			d.problem(at[i]+".namespace", "leave it out", "is not the policy's own: there are no namespaces here")
		}
		if t.SectionName != "" {
			names = append(names, t.SectionName)
		}
		if t.SectionName == "" && t.Kind == "Gateway" {
			d.wholeGateway(at[i]+".name", t.Name)
			all = true
		}
	}
	for i, s := range spec.TargetSelectors {
		d.policyKind(document.Index("spec.targetSelectors", i)+".kind", s.Kind)
		all = true
	}
	var attach Attach
	if len(names) > 0 {
		attach.Listeners = append(attach.Listeners, ListenerMatch{Direction: Any, Names: names})
	}
	if all {
		attach.Listeners = append(attach.Listeners, ListenerMatch{Direction: Gateway})
	}
	return attach
}

// wholeGateway warns where several Gateways become one.
func (d *doc) wholeGateway(at, name string) {
	if d.gateway == "" {
		d.gateway = name
	}
	if d.gateway != name {
		d.warn(at, "name its listeners by sectionName", "Gateways are not told apart here: the filters of %s and of %s go into all listeners of direction gateway", d.gateway, name)
	}
}

// policyKind refuses targets that are no Gateway.
func (d *doc) policyKind(at, kind string) {
	if kind != "" && kind != "Gateway" {
		d.problem(at, "target a Gateway: with sectionName that listener, without it all listeners of direction gateway get the filter",
			"%s is not known here, and filters are placed in listeners, not in routes", kind)
	}
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
