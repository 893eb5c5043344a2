package resource

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// filter is a Wasm filter, compiled: what nodes are sent, and where it goes.
type filter struct {
	*Filter
	attach []definition.ListenerMatch
	order  int
	origin *Resource         // the cluster of the module's own URL; nil for mirrored ones
	slot   *hcmv3.HttpFilter // in the listeners
	twin   *hcmv3.HttpFilter // in the primer
}

func (f *filter) same(p part) bool {
	g, ok := p.(*filter)
	return ok && f.Name == g.Name && f.Version == g.Version && f.Missing == g.Missing &&
		f.SHA256 == g.SHA256 && f.Direct == g.Direct && f.OnFailure == g.OnFailure &&
		f.order == g.order && reflect.DeepEqual(f.attach, g.attach) && f.origin.equal(g.origin)
}

func (b *builder) filterEntry(f *module.Filter) *entry {
	d := f.Definition
	e := &entry{key: key{ExtensionType, d.Name}, nodes: b.sameNodes(d.Attach.Nodes), pos: d.Pos}
	part, err := b.opts.filter(f)
	if err != nil {
		e.problems = append(e.problems, problem(d.Pos, "", "filter %s: %v", d.Name, err))
		return e
	}
	e.part = part
	return e
}

// filter compiles a filter.
func (o Options) filter(f *module.Filter) (*filter, error) {
	d := f.Definition
	if strings.HasPrefix(d.Name, TwinPrefix) {
		return nil, fmt.Errorf("names that begin with %q are taken by what modules are tried in", TwinPrefix)
	}
	out := &filter{
		Filter: &Filter{
			Name:      d.Name,
			SHA256:    f.Module.SHA256,
			Direct:    d.Module.Fetch == definition.Direct,
			OnFailure: d.OnFailure,
		},
		attach: d.Attach.Listeners,
		order:  d.Order,
	}
	types := []string{wasmType}
	if d.OnFailure == definition.Open {
		types = append(types, passType)
		pass, err := extension(d.Name, new(mutationv3.HeaderMutation))
		if err != nil {
			return nil, err
		}
		out.pass = pass
	}
	out.slot = slot(d.Name, types...)
	out.twin = slot(TwinPrefix+d.Name, wasmType)
	if !f.Ready() {
		out.Missing = f.Reason
		if out.Missing == "" {
			out.Missing = "its module was not had yet"
		}
		return out, nil
	}
	if out.Direct {
		out.SHA256 = d.Module.SHA256
	}
	return out, o.encode(out, d)
}

// encode makes what Envoy is sent for f, in all its encodings.
func (o Options) encode(f *filter, d *definition.Filter) error {
	code := &corev3.RemoteDataSource{
		HttpUri: &corev3.HttpUri{
			Uri:              o.ModulesURL + "/modules/" + f.SHA256 + ".wasm",
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: o.ModulesCluster},
		},
		Sha256: f.SHA256,
	}
	if f.Direct {
		cluster, err := o.originCluster(d.Module)
		if err != nil {
			return err
		}
		f.origin = cluster
		code.HttpUri.Uri = d.Module.URL
		code.HttpUri.HttpUpstreamType = &corev3.HttpUri_Cluster{Cluster: cluster.Name}
	}
	config := wasmConfig(d, code)
	for k := range Attempts {
		// Nobody will miss a microsecond, and Envoy takes it for another
		// configuration.
		code.HttpUri.Timeout = durationpb.New(o.FetchTimeout + time.Duration(k)*time.Microsecond)
		slot, err := extension(f.Name, config)
		if err != nil {
			return err
		}
		twin, err := extension(TwinPrefix+f.Name, config)
		if err != nil {
			return err
		}
		if k == 0 {
			f.Version = slot.Version
		} else {
			slot.Version = fmt.Sprintf("%s.%d", f.Version, k)
		}
		// The same version on both: that a twin is what its slot will be
		// is told by comparing them.
		twin.Version = slot.Version
		f.slots[k], f.twins[k] = slot, twin
	}
	return nil
}

// originCluster is the cluster through which Envoy fetches a module from its
// own URL.
func (o Options) originCluster(m definition.Module) (*Resource, error) {
	if m.SHA256 == "" {
		return nil, fmt.Errorf("module.sha256: needed with fetch: direct, Envoy takes no module whose content is not said")
	}
	u, err := url.Parse(m.URL)
	if err != nil {
		return nil, fmt.Errorf("module.url: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("module.url: %s:// with fetch: direct, Envoy fetches from http:// and https:// alone", u.Scheme)
	}
	end, err := endpointOf(u)
	if err != nil {
		return nil, fmt.Errorf("module.url: %w", err)
	}
	return o.cluster(end.name(), end)
}
