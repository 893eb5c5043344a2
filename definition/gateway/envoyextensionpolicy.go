package gateway

import (
	"slices"
	"strconv"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// extensionPolicy is Envoy Gateway's EnvoyExtensionPolicy,
// gateway.envoyproxy.io/v1alpha1. The sectionName of a target is taken as the
// name of a listener. Without a sectionName, the policy is attached to all
// listeners of direction gateway. A target that is an HTTPRoute stands for the
// routes of that name in native Listeners. The objects of the Gateway API
// themselves are not read. Other types of extensions are rejected by name.
//
// https://gateway.envoyproxy.io/docs/api/extension_types/
type extensionPolicy struct {
	APIVersion string              `json:"apiVersion" jsonschema:"required,enum=gateway.envoyproxy.io/v1alpha1"`
	Kind       string              `json:"kind"`
	Metadata   definition.Metadata `json:"metadata" jsonschema:"required"`
	Spec       extensionPolicySpec `json:"spec" jsonschema:"required"`
	Status     *document.Node      `json:"status"`
}

type extensionPolicySpec struct {
	TargetRef       *policyTarget    `json:"targetRef"`
	TargetRefs      []policyTarget   `json:"targetRefs"`
	TargetSelectors []policySelector `json:"targetSelectors"`
	Priority        int32            `json:"priority"` // in older versions
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
	Namespace   string `json:"namespace"` // in older versions
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

// policies reads the policies of one file.
type policies struct {
	gateway string // the Gateway that one of them targets as a whole
}

// Read adds a filter for each Wasm extension.
func (r *policies) Read(d *definition.Doc) {
	var w extensionPolicy
	d.Decode(&w)
	places := r.targets(d, w.Spec, w.Metadata.Namespace)
	if p := w.Spec.Priority; p < -maxPriority || p > maxPriority {
		d.Problem("spec.priority", "", "%d, needs %d to %d", p, -maxPriority, maxPriority)
	}
	var filters []*definition.Filter
	var written []string // their paths
	for i, wasm := range w.Spec.Wasm {
		at := document.Index("spec.wasm", i)
		part := wasm.Name
		if part == "" {
			part = strconv.Itoa(i)
		}
		f := &definition.Filter{
			Name: w.Metadata.Qualified() + "." + part, Kind: "EnvoyExtensionPolicy",
			Pos:    d.PosOf(at),
			Module: policyModule(d, at+".code", wasm.Code),
			// Without a configuration, it is empty text; with one, it is always
			// JSON.
			Config: definition.TextConfig(""),
			RootID: wasm.RootID, Order: 1000*int(w.Spec.Priority) + i, Place: definition.Place{At: definition.Last},
			OnFailure: definition.Closed, HostEnv: wasm.Env.HostKeys, Verify: definition.VerifyRun,
		}
		if image := wasm.Code.Image; image != nil && image.PullSecretRef != nil {
			if ns := image.PullSecretRef.Namespace; ns != "" && ns != w.Metadata.Namespace {
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
		for _, p := range places {
			of := *f
			of.Name, of.Attach = f.Name+p.suffix, p.attach
			of.VMID = of.Name // so that no VM is shared
			d.FilterName(at+".name", of.Name)
			filters, written = append(filters, &of), append(written, at)
		}
	}
	if d.Failed() {
		return
	}
	for i, f := range filters {
		d.AddFilter(f, map[string]string{"name": written[i] + ".name", "attach": "spec.targetRefs"})
	}
}

// place is where the filters of a policy go. The suffix distinguishes the
// filters of several Gateways.
type place struct {
	suffix string
	attach definition.Attach
}

// maxPriority keeps the filters of a policy within their range of the order.
const maxPriority = 1_000_000

func (r *policies) targets(d *definition.Doc, spec extensionPolicySpec, namespace string) []place {
	var targets []policyTarget
	var at []string
	if spec.TargetRef != nil {
		targets, at = append(targets, *spec.TargetRef), append(at, "spec.targetRef")
	}
	for i, t := range spec.TargetRefs {
		targets, at = append(targets, t), append(at, document.Index("spec.targetRefs", i))
	}
	if len(targets)+len(spec.TargetSelectors) == 0 {
		d.Problem("spec.targetRefs", "", "is missing")
	}
	if d.InCluster() {
		return byGateway(d, targets, at, spec.TargetSelectors, namespace)
	}
	var names, routes []string
	all := false
	for i, t := range targets {
		targetKind(d, at[i], t)
		if t.Namespace != "" && t.Namespace != namespace {
			d.Problem(at[i]+".namespace", "leave it out", "is not the policy's own: there are no namespaces here")
		}
		switch {
		case t.Kind == routeKind:
			routes = append(routes, t.Name)
		case t.SectionName != "":
			names = append(names, t.SectionName)
		}
		if t.SectionName == "" && t.Kind == "Gateway" {
			r.wholeGateway(d, at[i]+".name", t.Name)
			all = true
		}
	}
	for i, s := range spec.TargetSelectors {
		policyKind(d, document.Index("spec.targetSelectors", i)+".kind", s.Kind)
		all = true
	}
	var attach definition.Attach
	if len(names) > 0 {
		attach.Listeners = append(attach.Listeners, definition.ListenerMatch{Direction: definition.Any, Names: names})
	}
	if all {
		attach.Listeners = append(attach.Listeners, definition.ListenerMatch{Direction: definition.Gateway})
	}
	if len(routes) > 0 {
		attach.Listeners = append(attach.Listeners, toRoutes(routes))
	}
	return []place{{attach: attach}}
}

// byGateway returns a place for each Gateway, whose Envoys have its name as a
// label.
func byGateway(d *definition.Doc, targets []policyTarget, at []string, selectors []policySelector, namespace string) []place {
	var names []string
	sections := map[string][]string{} // empty: all listeners of direction gateway
	whole := map[string]bool{}
	var routes []string
	for i, t := range targets {
		targetKind(d, at[i], t)
		if t.Namespace != "" && t.Namespace != namespace {
			d.Problem(at[i]+".namespace", "write the policy in the Gateway's namespace", "is not the policy's own")
		}
		if t.Kind == routeKind {
			routes = append(routes, t.Name)
			continue
		}
		if !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
		if t.SectionName == "" {
			whole[t.Name] = true
		} else {
			sections[t.Name] = append(sections[t.Name], t.SectionName)
		}
	}
	var places []place
	for _, name := range names {
		p := place{attach: definition.Attach{Nodes: definition.Selector{Labels: map[string]string{definition.GatewayLabel: name}}}}
		if whole[name] {
			p.attach.Listeners = []definition.ListenerMatch{{Direction: definition.Gateway}}
		}
		if s := sections[name]; len(s) > 0 {
			p.attach.Listeners = append(p.attach.Listeners, definition.ListenerMatch{Direction: definition.Any, Names: s})
		}
		if len(names)+len(selectors) > 1 || len(routes) > 0 {
			p.suffix = "." + name
		}
		places = append(places, p)
	}
	if len(routes) > 0 {
		p := place{attach: definition.Attach{Listeners: []definition.ListenerMatch{toRoutes(routes)}}}
		if len(names)+len(selectors) > 0 {
			p.suffix = ".routes"
		}
		places = append(places, p)
	}
	for i, s := range selectors {
		policyKind(d, document.Index("spec.targetSelectors", i)+".kind", s.Kind)
	}
	if len(selectors) > 0 { // those with labels are rejected
		places = append(places, place{attach: definition.Attach{Listeners: []definition.ListenerMatch{{Direction: definition.Gateway}}}})
	}
	return places
}

// routeKind is the kind of targets that stand for the routes of a name.
const routeKind = "HTTPRoute"

// toRoutes matches the routes of these names in any listener.
func toRoutes(names []string) definition.ListenerMatch {
	return definition.ListenerMatch{Direction: definition.Any, Routes: names}
}

// wholeGateway warns if several Gateways are treated as one.
func (r *policies) wholeGateway(d *definition.Doc, at, name string) {
	if r.gateway == "" {
		r.gateway = name
	}
	if r.gateway != name {
		d.Warn(at, "name its listeners by sectionName", "Gateways are not told apart here: the filters of %s and of %s go into all listeners of direction gateway", r.gateway, name)
	}
}

// targetKind rejects targets that are neither a Gateway nor a whole HTTPRoute.
func targetKind(d *definition.Doc, at string, t policyTarget) {
	if t.Kind != routeKind {
		policyKind(d, at+".kind", t.Kind)
	} else if t.SectionName != "" {
		d.Problem(at+".sectionName", "target the route of a Listener by its name alone", "rules of an HTTPRoute have no names here")
	}
}

// policyKind rejects kinds other than Gateway.
func policyKind(d *definition.Doc, at, kind string) {
	if kind != "" && kind != "Gateway" {
		d.Problem(at, "target a Gateway: with sectionName that listener, without it all listeners of direction gateway get the filter; or an HTTPRoute in targetRefs: the routes of that name in Listeners get it",
			"%s is not known here", kind)
	}
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
