package resource

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	rulesv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// filter is a compiled Wasm or Lua filter: what nodes are sent, and where it
// goes.
type filter struct {
	*Filter
	attach definition.Attach
	order  int
	place  place

	variantOf string // name of the filter that it replaces on some routes; "": none

	origin *Resource // cluster of the module's own URL; nil: the module is mirrored

	withheld map[string]bool // for a hole: the listeners that wait for it

	slotEntry *hcmv3.HttpFilter // its slot in listeners
}

func (f *filter) same(p part) bool {
	g, ok := p.(*filter)
	return ok && f.Name == g.Name && f.Version == g.Version && f.Missing == g.Missing && f.Coming == g.Coming &&
		f.SHA256 == g.SHA256 && f.Direct == g.Direct && f.Lua == g.Lua && f.OnFailure == g.OnFailure &&
		f.order == g.order && f.variantOf == g.variantOf && f.place == g.place && reflect.DeepEqual(f.attach.Listeners, g.attach.Listeners) && f.origin.equal(g.origin) &&
		maps.Equal(f.withheld, g.withheld)
}

func (b *builder) filterEntry(f *module.Filter) *catalogEntry {
	d := f.Definition
	e := &catalogEntry{key: key{ExtensionType, d.Name}, nodes: b.sameNodes(d.Attach.Nodes), pos: d.Pos}
	if d.Serves() {
		e.part = serviceOf(f)
		return e
	}
	part, err := b.opts.filter(f)
	if err != nil {
		e.problems = append(e.problems, problem(d.Pos, "", "filter %s: %v", d.Name, err))
		if part == nil {
			return e
		}
		part.Missing = err.Error() // so that its listeners wait for it
	}
	e.part = part
	if f.Module.Size > asyncLimit {
		p := problem(d.Pos, "", "filter %s: its module has %d bytes, and Envoy fetches no more than %d", d.Name, f.Module.Size, asyncLimit)
		p.Hint = "unless the runtime key http.async_response_buffer_limit in Envoy's bootstrap says otherwise"
		p.Warning = true
		e.problems = append(e.problems, p)
	}
	return e
}

// asyncLimit is the number of bytes that Envoy accepts in a response to a
// request of its own: 1.36 and 1.40 loaded a module of 31 MiB, but never one of
// 33 MiB.
const asyncLimit = 32 << 20

// filter compiles a filter.
func (o Options) filter(f *module.Filter) (*filter, error) {
	d := f.Definition
	if err := checkName(d.Name); err != nil {
		return nil, err
	}
	out := &filter{
		Filter: &Filter{
			Name:      d.Name,
			TwinName:  twinName(d.Name, d.Lua != nil),
			ID:        nameID(d.Name),
			SHA256:    f.Module.SHA256,
			Direct:    d.Module.Fetch == definition.Direct,
			Lua:       d.Lua != nil,
			OnFailure: d.OnFailure,
		},
		attach: d.Attach,
		order:  d.Order,
		place:  place(d.Place),

		variantOf: d.VariantOf,
	}
	out.Network = d.Place.Network
	if err := out.setNoops(); err != nil {
		return nil, err
	}
	out.slotEntry = definition.Slot(d.Name, d.OnFailure == definition.Open)
	if !f.Ready() {
		out.Missing, out.Coming = f.Reason, f.State == module.Fetching
		if out.Missing == "" {
			out.Missing = "its module was not had yet"
		}
		return out, nil
	}
	if d.Lua != nil {
		return out, out.setLua(d.Lua.Script, filterVersion(f))
	}
	return out, o.encode(out, d, filterVersion(f))
}

// mirrored returns the URI of a module on the module server.
func (o Options) mirrored(sha256 string) *corev3.HttpUri {
	return &corev3.HttpUri{
		Uri:              o.ModulesURL + "/modules/" + sha256 + ".wasm",
		HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: o.ModulesCluster},
		Timeout:          durationpb.New(o.FetchTimeout),
	}
}

// encode makes all encodings of f.
func (o Options) encode(f *filter, d *definition.Filter, version string) error {
	code := &corev3.RemoteDataSource{HttpUri: o.mirrored(f.SHA256), Sha256: f.SHA256}
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
	return f.set(config, code, version)
}

// set makes config the content of f. The parameter code is that of config.
func (f *Filter) set(config *wasmv3.Wasm, code *corev3.RemoteDataSource, version string) error {
	timeout := code.HttpUri.Timeout.AsDuration()
	return f.setContent(version, func(slot string, attempt int) (*Resource, error) {
		// A microsecond makes no difference, but Envoy takes this for another
		// configuration.
		code.HttpUri.Timeout = durationpb.New(timeout + time.Duration(attempt)*time.Microsecond)
		return extension(slot, f.contentIn(slot, config))
	})
}

// setContent makes what encode returns the content of f.
func (f *Filter) setContent(version string, encode func(slot string, attempt int) (*Resource, error)) (err error) {
	// Twin and slot have the same version: comparing the versions shows whether
	// a twin has the content of its slot.
	f.Version, f.ownVersion = version, version+"-"+f.ID
	versioned := func(slot string, attempt int) (*Resource, error) {
		r, err := encode(slot, attempt)
		if err != nil {
			return nil, err
		}
		r.Version = f.VersionIn(slot)
		if attempt > 0 {
			r.Version = fmt.Sprintf("%s.%d", r.Version, attempt)
		}
		return r, nil
	}
	f.twin, err = versioned(f.TwinName, 0)
	f.encode = func(slot string, attempt int) *Resource {
		r, err := versioned(slot, attempt)
		if err != nil {
			panic(err) // it was valid before
		}
		return r
	}
	return err
}

// contentIn returns config in the form that a slot accepts.
func (f *Filter) contentIn(slot string, config *wasmv3.Wasm) validatable {
	if IsNetworkSlot(slot) || f.Network && slot == f.Name {
		return asNetwork(config)
	}
	return config
}

// nameID returns a short hash of a filter's name, for use where the name itself
// is not possible.
func nameID(filter string) string { return VersionOf([]byte(filter))[:8] }

// checkName rejects names that are reserved for xds-server.
func checkName(name string) error {
	if strings.HasPrefix(name, TwinPrefix) {
		return fmt.Errorf("names that begin with %q are taken by what modules are tried in", TwinPrefix)
	}
	if IsStandby(name) {
		return fmt.Errorf("names that begin with %q are taken by versions that stand by", StandbyPrefix)
	}
	if strings.HasPrefix(name, SlotPrefix) {
		return fmt.Errorf("names that begin with %q are taken by the slots of listeners", SlotPrefix)
	}
	return nil
}

// setNoops makes the content of f's slot and twin for when its own can't be
// used.
func (f *Filter) setNoops() (err error) {
	if f.OnFailure == definition.Open {
		empty := nothing
		if f.Network {
			empty = networkNothing
		}
		if f.noop, err = empty(f.Name); err != nil {
			return err
		}
	}
	f.twinNoop, err = nothing(f.TwinName)
	return err
}

// nothing returns a filter that does nothing.
func nothing(slot string) (*Resource, error) { return extension(slot, new(mutationv3.HeaderMutation)) }

// nothingAgain returns r, which does nothing, in other bytes: in an HTTP slot it removes a
// header that no request has, in a network slot it sets nothing to an empty text.
func nothingAgain(r *Resource, attempt int) *Resource {
	var again *Resource
	var err error
	switch {
	case bytes.Contains(r.Value, []byte("header_mutation.v3.HeaderMutation")):
		again, err = extension(r.Name, &mutationv3.HeaderMutation{Mutations: &mutationv3.Mutations{RequestMutations: []*rulesv3.HeaderMutation{{
			Action: &rulesv3.HeaderMutation_Remove{Remove: fmt.Sprintf("x-wasmxds-attempt-%d", attempt)},
		}}}})
	case bytes.Contains(r.Value, []byte("network.set_filter_state.v3.Config")):
		again, err = networkNothingAgain(r.Name, attempt)
	default:
		return r
	}
	if err != nil {
		panic(err) // can't happen: only the name and the number vary
	}
	again.Version = r.Version
	return again
}

// originCluster returns the cluster through which Envoy fetches a module from
// its own URL.
func (o Options) originCluster(m definition.Module) (*Resource, error) {
	u, err := url.Parse(m.URL)
	if err != nil {
		return nil, errors.New("module.url: is not a URL")
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
