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
// themselves are not read. Wasm and Lua extensions become filters; other types
// are rejected by name.
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
	Wasm            []policyWasm     `json:"wasm"`
	Lua             []policyLua      `json:"lua"`
	ExtProc         *document.Node   `json:"extProc" refuse:"is not served here, only wasm and lua; leave it out"`
	DynamicModule   *document.Node   `json:"dynamicModule" refuse:"is not served here, only wasm and lua; leave it out"`
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
	if len(w.Spec.Wasm)+len(w.Spec.Lua) == 0 && d.Root().Get("spec") != nil && !d.Failed() {
		d.Problem("spec", "wasm: with the code of a module, or lua: with inline", "has neither wasm nor lua")
	}
	var filters []*definition.Filter
	var written []map[string]string // where their fields are
	add := func(f *definition.Filter, name string, fields map[string]string) {
		for _, p := range places {
			of := *f
			of.Name, of.Attach = f.Name+p.suffix, p.attach
			if of.Lua == nil {
				of.VMID = of.Name // so that no VM is shared
			}
			d.FilterName(name, of.Name)
			filters, written = append(filters, &of), append(written, fields)
		}
	}
	scripts := d.Root().Get("spec").Get("lua")
	for i, lua := range w.Spec.Lua {
		at := document.Index("spec.lua", i)
		f := luaExtension(d, at, lua, scripts.Items[i])
		f.Name = w.Metadata.Qualified() + ".lua." + strconv.Itoa(i)
		f.Order = 1000*int(w.Spec.Priority) - beforeWasm + i
		add(f, at, map[string]string{"name": at, "inline": at + ".inline", "attach": "spec.targetRefs"})
	}
	for i, wasm := range w.Spec.Wasm {
		at := document.Index("spec.wasm", i)
		part := wasm.Name
		if part == "" {
			part = strconv.Itoa(i)
		}
		f := wasmExtension(d, at, wasm, w.Metadata.Namespace)
		f.Name = w.Metadata.Qualified() + "." + part
		f.Order = 1000*int(w.Spec.Priority) + i
		add(f, at+".name", map[string]string{"name": at + ".name", "config": at + ".config", "attach": "spec.targetRefs"})
	}
	if d.Failed() {
		return
	}
	for i, f := range filters {
		d.AddFilter(f, written[i])
	}
}

// beforeWasm has the scripts of a policy precede its modules, as in Envoy
// Gateway. A policy has at most 16 of each.
const beforeWasm = 500

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
