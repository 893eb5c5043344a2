package istio

import (
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// wasmPlugin is Istio's kind of that name, extensions.istio.io/v1alpha1. All
// of its fields are here: what can't be honoured is refused by name.
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
	Selector        labelSelector     `json:"selector"`
	TargetRef       *targetReference  `json:"targetRef"`
	TargetRefs      []targetReference `json:"targetRefs"`
	URL             string            `json:"url" jsonschema:"required"`
	SHA256          string            `json:"sha256"`
	ImagePullPolicy string            `json:"imagePullPolicy" jsonschema:"enum=UNSPECIFIED_POLICY,enum=IfNotPresent,enum=Always"`
	ImagePullSecret string            `json:"imagePullSecret"`
	VerificationKey string            `json:"verificationKey"`
	PluginConfig    *document.Node    `json:"pluginConfig"`
	PluginName      string            `json:"pluginName"`
	Phase           string            `json:"phase" jsonschema:"enum=UNSPECIFIED_PHASE,enum=AUTHN,enum=AUTHZ,enum=STATS"`
	Priority        int32             `json:"priority"`
	FailStrategy    string            `json:"failStrategy" jsonschema:"enum=FAIL_CLOSE,enum=FAIL_OPEN,enum=FAIL_RELOAD"`
	VMConfig        struct {
		Env []wasmPluginEnv `json:"env"`
	} `json:"vmConfig"`
	Match []wasmPluginMatch `json:"match"`
	Type  string            `json:"type" jsonschema:"enum=UNSPECIFIED_PLUGIN_TYPE,enum=HTTP,enum=NETWORK"`
}

type targetReference struct {
	Group     string `json:"group" jsonschema:"required,enum=gateway.networking.k8s.io"`
	Kind      string `json:"kind" jsonschema:"required,enum=Gateway"`
	Name      string `json:"name" jsonschema:"required"`
	Namespace string `json:"namespace"`
}

type labelSelector struct {
	MatchLabels map[string]string `json:"matchLabels"`
}

type wasmPluginEnv struct {
	Name      string  `json:"name" jsonschema:"required"`
	Value     *string `json:"value"`
	ValueFrom string  `json:"valueFrom" jsonschema:"enum=INLINE,enum=HOST"`
}

type wasmPluginMatch struct {
	Mode  string `json:"mode" jsonschema:"enum=UNDEFINED,enum=CLIENT,enum=SERVER,enum=CLIENT_AND_SERVER"`
	Ports []struct {
		Number uint32 `json:"number" jsonschema:"required"`
	} `json:"ports"`
}

// Places in the order of filters, nearest the client first. Istio's phases are
// before what names none; within a phase the higher priority is nearer the
// client, and any int32 fits between two phases.
const (
	phaseStep   = 10_000_000_000
	orderAuthN  = -3 * phaseStep
	orderAuthZ  = -2 * phaseStep
	orderStats  = -1 * phaseStep
	orderNormal = 0
)

// phaseOrder is what the order of a WasmPlugin's phase begins at.
func phaseOrder(phase string) int {
	switch phase {
	case "AUTHN":
		return orderAuthN
	case "AUTHZ":
		return orderAuthZ
	case "STATS":
		return orderStats
	}
	return orderNormal
}

// phasePlace is where Istio has a phase: before its filters of that kind.
func phasePlace(phase string) definition.Place {
	switch phase {
	case "AUTHN":
		return definition.Place{At: definition.First}
	case "AUTHZ":
		return definition.Place{At: definition.AuthZ}
	case "STATS":
		return definition.Place{At: definition.Stats}
	}
	return definition.Place{At: definition.Last}
}

// Read makes a filter of a WasmPlugin.
func (wasmPlugins) Read(d *definition.Doc) {
	var w wasmPlugin
	d.Decode(&w)
	spec := w.Spec
	f := &definition.Filter{
		Name: w.Metadata.Qualified(), Kind: "WasmPlugin", Pos: d.Pos(),
		Module: pluginModule(d, spec),
		RootID: spec.PluginName,
		Attach: definition.Attach{Nodes: definition.Selector{Labels: spec.Selector.MatchLabels}, Listeners: pluginMatch(d, spec.Match)},
		Order:  phaseOrder(spec.Phase) - int(spec.Priority),
		Place:  phasePlace(spec.Phase),
		Verify: definition.VerifyRun,
	}
	switch spec.FailStrategy {
	case "FAIL_OPEN":
		f.OnFailure = definition.Open
	case "FAIL_RELOAD":
		f.OnFailure = definition.Reload
	default:
		f.OnFailure = definition.Closed
	}
	if spec.PluginConfig != nil {
		if spec.PluginConfig.Kind != document.Object {
			d.Problem("spec.pluginConfig", "", "%s, needs %s", spec.PluginConfig.Kind, document.Object)
		}
		f.Config = definition.TextConfig(string(spec.PluginConfig.JSON()))
	}
	f.Place.Network = spec.Type == "NETWORK"
	d.Labels("spec.selector.matchLabels", spec.Selector.MatchLabels)
	pluginEnv(d, f, spec.VMConfig.Env)
	d.FilterName("metadata.name", f.Name)
	gateways := pluginGateways(d, spec, w.Metadata.Namespace)
	if d.Failed() {
		return
	}
	at := map[string]string{"name": "metadata.name", "attach": "spec.match"}
	if len(gateways) == 0 {
		d.AddFilter(f, at)
	}
	for _, name := range gateways {
		of := *f
		of.Attach.Nodes.Labels = map[string]string{definition.GatewayLabel: name}
		if len(gateways) > 1 {
			of.Name += "." + name
		}
		d.AddFilter(&of, at)
	}
}

// pluginGateways are the names of the Gateways that a WasmPlugin is for; none: it
// selects Envoys by their labels.
func pluginGateways(d *definition.Doc, spec wasmPluginSpec, namespace string) []string {
	var names []string
	add := func(at string, t targetReference) {
		if t.Namespace != "" && t.Namespace != namespace {
			d.Problem(at+".namespace", "write the WasmPlugin in the Gateway's namespace", "is not the WasmPlugin's own")
		}
		if t.Name != "" && !slices.Contains(names, t.Name) {
			names = append(names, t.Name)
		}
	}
	if spec.TargetRef != nil {
		add("spec.targetRef", *spec.TargetRef)
	}
	for i, t := range spec.TargetRefs {
		add(document.Index("spec.targetRefs", i), t)
	}
	if len(names) > 0 && len(spec.Selector.MatchLabels) > 0 {
		d.Problem("spec.selector", "select by one of them", "can't be together with targetRefs")
	}
	return names
}

func pluginModule(d *definition.Doc, spec wasmPluginSpec) definition.Module {
	m := definition.Module{Fetch: definition.Mirror, Pull: definition.PullPolicyOf(spec.ImagePullPolicy), PullSecret: spec.ImagePullSecret}
	if strings.Contains(spec.URL, "://") && !strings.HasPrefix(spec.URL, "oci://") {
		m.URL = d.ModuleURL("spec.url", spec.URL)
		m.SHA256 = d.SHA256("spec.sha256", spec.SHA256)
		if spec.ImagePullSecret != "" {
			d.Problem("spec.imagePullSecret", "", "is for oci:// only")
		}
		if spec.VerificationKey != "" {
			d.Problem("spec.verificationKey", "publish it in a registry and sign it there, or pin it by sha256", "is for oci:// only")
		}
	} else if spec.URL != "" {
		m.URL = d.Image("spec.url", spec.URL, "spec.sha256", spec.SHA256)
		if spec.VerificationKey != "" {
			m.Signed = d.VerificationKey("spec.verificationKey", spec.VerificationKey)
		}
	}
	return m
}

// pluginMatch turns traffic selectors into listeners. What a gateway sends on
// counts as CLIENT, as in Istio.
func pluginMatch(d *definition.Doc, match []wasmPluginMatch) []definition.ListenerMatch {
	if len(match) == 0 {
		return []definition.ListenerMatch{{Direction: definition.Any}}
	}
	var made []definition.ListenerMatch
	for i, m := range match {
		var ports []uint32
		for _, p := range m.Ports {
			ports = append(ports, p.Number)
		}
		at := document.Index("spec.match", i) + ".ports"
		d.Ports(at, ports)
		switch m.Mode {
		case "CLIENT":
			made = append(made, definition.ListenerMatch{Direction: definition.Outbound, Ports: ports}, definition.ListenerMatch{Direction: definition.Gateway, Ports: ports})
		case "SERVER":
			made = append(made, definition.ListenerMatch{Direction: definition.Inbound, Ports: ports})
		default:
			made = append(made, definition.ListenerMatch{Direction: definition.Any, Ports: ports})
		}
	}
	return made
}

func pluginEnv(d *definition.Doc, f *definition.Filter, env []wasmPluginEnv) {
	seen := map[string]bool{}
	for i, e := range env {
		at := document.Index("spec.vmConfig.env", i)
		d.Variable(at+".name", e.Name)
		if seen[e.Name] {
			d.Problem(at+".name", "", "%s is there twice", e.Name)
		}
		seen[e.Name] = true
		switch {
		case e.ValueFrom == "HOST" && e.Value != nil:
			d.Problem(at+".value", "", "can't be together with valueFrom: HOST")
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
