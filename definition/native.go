package definition

import (
	"maps"
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
	"wasmxds/printable"
)

// wasmFilter is a document of kind WasmFilter.
type wasmFilter struct {
	Kind       string            `json:"kind" jsonschema:"required,enum=WasmFilter"`
	Name       string            `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the ECDS resource; unique."`
	Module     module            `json:"module" jsonschema:"required" jsonschema_description:"Where the code is."`
	Config     *document.Node    `json:"config,omitempty" jsonschema_description:"Plugin configuration. A mapping or list is handed over as JSON, text as it is, a mapping with @type as that message."`
	ConfigFrom *configFrom       `json:"configFrom,omitempty" jsonschema_description:"Where the plugin configuration is, in place of config."`
	VMConfig   *document.Node    `json:"vmConfig,omitempty" jsonschema_description:"VM configuration, written as config is."`
	RootID     string            `json:"rootID,omitempty" jsonschema_description:"Name under which the module registered the plugin."`
	VMID       string            `json:"vmID,omitempty" jsonschema_description:"Filters with the same VM ID, code and VM configuration share a VM."`
	Attach     *attach           `json:"attach,omitempty" jsonschema_description:"Listeners and nodes that get the filter. Default: every listener of every node."`
	Order      int               `json:"order,omitempty" jsonschema_description:"Lower is nearer the client; ties by name. Default: 0."`
	Place      string            `json:"place,omitempty" jsonschema:"pattern=^(accessLog|service|network|(network )?(first|authz|stats|last|(before|after) .+))$" jsonschema_description:"Where the filter stands among a listener's own filters: first, authz, stats, last, or before or after NAME. With network before it, or network alone: among the network filters of its chains, as a network filter. With accessLog it is an access logger of its listeners, and with service a service of Envoy itself, no filter. Default: first where order is negative, else last."`
	OnFailure  OnFailure         `json:"onFailure,omitempty" jsonschema:"enum=closed,enum=open,enum=reload" jsonschema_description:"What becomes of requests while the filter cannot run: closed (default) refuses them, open lets them pass, reload refuses them and has Envoy make a new VM. Of an access logger: whether listeners go without it (open, its default) or wait for it (closed); of a service, whether an Envoy starts without it."`
	Singleton  bool              `json:"singleton,omitempty" jsonschema_description:"Of a service: one VM for all of Envoy, in place of one for each of its threads."`
	Env        map[string]string `json:"env,omitempty" jsonschema_description:"Environment variables of the VM."`
	HostEnv    []string          `json:"hostEnv,omitempty" jsonschema_description:"Environment variables taken from Envoy's own environment."`
	Allow      *document.Node    `json:"allow,omitempty" jsonschema_description:"Host calls that the module may use, or computed: those that it imports, and what a later version wants besides is refused. Default: all."`
	Verify     Verify            `json:"verify,omitempty" jsonschema:"enum=run,enum=abi" jsonschema_description:"How much of the module is tried before any Envoy sees it: run (default) starts it with its configuration, abi looks at its exports."`
}

type module struct {
	URL        string     `json:"url" jsonschema:"required" jsonschema_description:"Path from this file, or file://, http://, https:// or oci:// URL."`
	SHA256     string     `json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-fA-F]{64}$" jsonschema_description:"SHA-256 that the module must have, in hex."`
	Fetch      Fetch      `json:"fetch,omitempty" jsonschema:"enum=mirror,enum=direct" jsonschema_description:"mirror (default): xds-server fetches, verifies and serves it. direct: each Envoy fetches it from the URL."`
	Pull       PullPolicy `json:"pull,omitempty" jsonschema:"enum=always,enum=ifNotPresent" jsonschema_description:"When a module that is there already is looked up again. Default: by the URL."`
	PullSecret string     `json:"pullSecret,omitempty" jsonschema_description:"Credentials for an oci:// URL: a docker configuration, by its name below --pull-secrets, or a Secret of the same namespace."`
	Signed     *signed    `json:"signed,omitempty" jsonschema_description:"By whom an oci:// module must be signed, with cosign."`
}

type configFrom struct {
	File      *string    `json:"file,omitempty" jsonschema_description:"Path from this file of one whose text is the configuration, below the folder of definitions."`
	Secret    *objectKey `json:"secret,omitempty" jsonschema_description:"A key of a Secret of the same namespace, whose text is the configuration. For objects of a Kubernetes cluster."`
	ConfigMap *objectKey `json:"configMap,omitempty" jsonschema_description:"A key of a ConfigMap, in the same way."`
}

type objectKey struct {
	Name string `json:"name" jsonschema:"required,maxLength=253" jsonschema_description:"Name of the object."`
	Key  string `json:"key" jsonschema:"required,maxLength=253" jsonschema_description:"Key of its data."`
}

type attach struct {
	Direction Direction      `json:"direction,omitempty" jsonschema:"enum=any,enum=inbound,enum=outbound,enum=gateway" jsonschema_description:"Side of the listeners. Default: any."`
	Listeners *[]string      `json:"listeners,omitempty" jsonschema_description:"Names of listeners. Default: every listener; an empty list: none."`
	Ports     []uint32       `json:"ports,omitempty" jsonschema_description:"Ports of listeners. Default: every port."`
	Routes    []string       `json:"routes,omitempty" jsonschema:"minItems=1" jsonschema_description:"Names of routes that the filter runs for. Default: every route."`
	Match     *[]attachMatch `json:"match,omitempty" jsonschema_description:"Several conditions, of which one is enough, in place of direction, listeners, ports and routes."`
	Nodes     nodes          `json:"nodes,omitempty" jsonschema_description:"Nodes that get the filter. Default: every node."`
}

type attachMatch struct {
	Direction Direction `json:"direction,omitempty" jsonschema:"enum=any,enum=inbound,enum=outbound,enum=gateway" jsonschema_description:"Side of the listeners. Default: any."`
	Listeners []string  `json:"listeners,omitempty" jsonschema_description:"Names of listeners. Default: every listener."`
	Ports     []uint32  `json:"ports,omitempty" jsonschema_description:"Ports of listeners. Default: every port."`
	Routes    []string  `json:"routes,omitempty" jsonschema:"minItems=1" jsonschema_description:"Names of routes. Default: every route."`
}

type nodes struct {
	IDs      []string          `json:"ids,omitempty" jsonschema_description:"Node IDs; * ? and [a-z] are wildcards."`
	Clusters []string          `json:"clusters,omitempty" jsonschema_description:"Node clusters; * ? and [a-z] are wildcards."`
	Labels   map[string]string `json:"labels,omitempty" jsonschema_description:"Labels that a node must have, from node.metadata.LABELS or node.metadata.labels."`
}

func readWasmFilter(d *Doc) {
	var w wasmFilter
	ok := d.Decode(&w)
	before := len(d.problems)
	f := &Filter{
		Name: w.Name, Kind: w.Kind, Pos: d.Pos(),
		Module:   d.module(w.Module),
		Config:   d.config("config", w.Config),
		VMConfig: d.config("vmConfig", w.VMConfig),
		RootID:   w.RootID, VMID: w.VMID,
		Attach: d.attach(w.Attach), Order: w.Order, Place: d.place(w.Place, w.Order),
		OnFailure: w.OnFailure, Env: w.Env, HostEnv: w.HostEnv, Verify: w.Verify, Singleton: w.Singleton,
	}
	if w.ConfigFrom != nil {
		f.Config = d.configFrom(w.ConfigFrom, w.Config != nil)
		if s := w.ConfigFrom.Secret; s != nil {
			f.ConfigSecret = &SecretKey{Name: s.Name, Key: s.Key}
		}
	}
	if f.OnFailure == "" {
		f.OnFailure = f.Place.onFailure()
	}
	if f.Verify == "" {
		f.Verify = VerifyRun
	}
	d.FilterName("name", f.Name)
	d.environment(f)
	d.logger(f)
	d.service(f)
	if (f.Place.Network || f.Logs()) && slices.ContainsFunc(f.Attach.Listeners, func(m ListenerMatch) bool { return len(m.Routes) > 0 }) {
		d.Problem("attach", "leave routes out", "is for routes, which network filters and access loggers don't know")
	}
	f.Allow, f.AllowComputed = d.allow(w.Allow, f.Module.Fetch)
	if ok && len(d.problems) == before {
		d.AddFilter(f, nil)
	}
}

// environment checks the names of environment variables.
func (d *Doc) environment(f *Filter) {
	for _, key := range slices.Sorted(maps.Keys(f.Env)) {
		d.Variable(document.Join("env", key), key)
	}
	for i, key := range f.HostEnv {
		at := document.Index("hostEnv", i)
		d.Variable(at, key)
		if _, both := f.Env[key]; both {
			d.Problem(at, "Envoy refuses a variable that is in both", "%s is in env as well", key)
		}
	}
}

// Variable checks the name of an environment variable.
func (d *Doc) Variable(path, name string) {
	if name == "" || strings.ContainsAny(name, "=\x00") {
		d.Problem(path, "", "%q can't be the name of an environment variable", name)
	}
}

func (d *Doc) attach(a *attach) Attach {
	if a == nil {
		return Attach{Listeners: []ListenerMatch{{Direction: Any}}}
	}
	made := Attach{Nodes: d.nodes("attach.nodes", a.Nodes)}
	switch {
	case a.Match != nil:
		for _, other := range []struct {
			field string
			set   bool
		}{{"direction", a.Direction != ""}, {"listeners", a.Listeners != nil}, {"ports", a.Ports != nil}, {"routes", a.Routes != nil}} {
			if other.set {
				d.Problem("attach."+other.field, "write it into each entry of match", "can't be combined with match")
			}
		}
		for i, m := range *a.Match {
			d.Ports(document.Index("attach.match", i)+".ports", m.Ports)
			d.routeNames(document.Index("attach.match", i)+".routes", m.Routes)
			made.Listeners = append(made.Listeners, listenerMatch(m))
		}
	case a.Listeners != nil && len(*a.Listeners) == 0: // an empty list: attached to nothing
	default:
		m := attachMatch{Direction: a.Direction, Ports: a.Ports, Routes: a.Routes}
		if a.Listeners != nil {
			m.Listeners = *a.Listeners
		}
		d.Ports("attach.ports", m.Ports)
		d.routeNames("attach.routes", m.Routes)
		made.Listeners = []ListenerMatch{listenerMatch(m)}
	}
	return made
}

func listenerMatch(m attachMatch) ListenerMatch {
	made := ListenerMatch{Direction: m.Direction, Names: m.Listeners, Ports: m.Ports, Routes: m.Routes}
	if made.Direction == "" {
		made.Direction = Any
	}
	return made
}

func (d *Doc) Ports(path string, ports []uint32) {
	for i, port := range ports {
		if port < 1 || port > 65535 {
			d.Problem(document.Index(path, i), "", "%d is not a port", port)
		}
	}
}

func (d *Doc) nodes(path string, n nodes) Selector {
	d.globs(path+".ids", n.IDs)
	d.globs(path+".clusters", n.Clusters)
	return Selector(n)
}

// FilterName checks the name of a filter, which is also the name of its
// resource.
func (d *Doc) FilterName(path, name string) {
	d.name(path, name)
	d.notReserved(path, name, TwinPrefix, StandbyPrefix, SlotPrefix)
}

func (d *Doc) notReserved(path, name string, prefixes ...string) {
	for _, prefix := range prefixes {
		if strings.HasPrefix(name, prefix) {
			d.Problem(path, renameIt, "names that begin with %s are reserved for xds-server", prefix)
		}
	}
}

// name checks the name of a resource.
func (d *Doc) name(path, name string) {
	switch {
	case strings.Contains(name, " ") || !printable.Is(name):
		d.Problem(path, "", "%q has spaces or characters that can't be seen", name)
	case len(name) > 253:
		d.Problem(path, "", "%d bytes, 253 at most", len(name))
	}
}
