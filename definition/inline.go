package definition

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const managerName = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

// inline takes the Wasm filters out of the HTTP connection managers and the
// filter chains of a raw listener. Each becomes a filter that is attached to
// nothing, and a slot in the listener takes its place. If the filter stayed,
// Envoy would fetch its module, or fail to, while it serves traffic. A filter
// whose code is in the listener itself stays.
type inline struct {
	*Doc
	listener *listenerv3.Listener
	taken    map[string]*Filter   // by name
	names    map[[2]string]string // by wanted name and the filter's bytes
	wanted   map[string]int       // how many filters want each name
	managers int                  // number of HTTP connection managers in the listener
	failed   bool
}

// maxOfOneName bounds how many filters with the same name, but different
// configurations, a connection manager may have: a route's configuration for
// that name applies to each of them.
const maxOfOneName = 16

// takeInline takes the filters out of l and reports whether there were no
// errors.
func (d *Doc) takeInline(l *listenerv3.Listener) bool {
	in := &inline{Doc: d, listener: l, taken: map[string]*Filter{}, names: map[[2]string]string{}, wanted: map[string]int{}, managers: managers(l)}
	for i, chain := range l.GetFilterChains() {
		in.chain(chain, "filter_chains", strconv.Itoa(i))
	}
	if chain := l.GetDefaultFilterChain(); chain != nil {
		in.chain(chain, "default_filter_chain")
	}
	return !in.failed
}

func (in *inline) chain(chain *listenerv3.FilterChain, steps ...string) {
	for i, f := range chain.GetFilters() {
		at := append(slices.Clone(steps), "filters", strconv.Itoa(i), "typed_config")
		if in.network(f, chain.GetName(), at) {
			continue
		}
		path := in.root.Locate(at)
		hcm := &hcmv3.HttpConnectionManager{}
		wrapped, body := bodyOf(path, in.at(path), managerName)
		switch {
		case body == nil:
			continue
		case wrapped != path: // in a TypedStruct
			at = append(at, "value")
			if !in.Message(wrapped, body, hcm) {
				in.failed = true
				continue
			}
		default:
			if err := f.GetTypedConfig().UnmarshalTo(hcm); err != nil {
				in.Problem(path, "", "%v", err)
				in.failed = true
				continue
			}
		}
		if changed := in.manager(hcm, chain.GetName(), at); !changed && wrapped == path {
			continue
		}
		value := new(anypb.Any)
		if err := anypb.MarshalFrom(value, hcm, proto.MarshalOptions{Deterministic: true}); err != nil {
			in.Problem(path, "", "%v", err)
			in.failed = true
			continue
		}
		f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: value}
	}
}

// manager takes the filters out of the HTTP connection manager at steps and
// reports whether there were any.
func (in *inline) manager(hcm *hcmv3.HttpConnectionManager, chain string, steps []string) bool {
	renamed := map[string][]string{}
	place := []string{in.listener.GetName()}
	if chain != "" {
		place = append(place, chain)
	}
	in.filters(hcm.GetHttpFilters(), renamed, place, append(slices.Clone(steps), "http_filters"))
	for i, upgrade := range hcm.GetUpgradeConfigs() {
		in.filters(upgrade.GetFilters(), renamed, append(slices.Clone(place), upgrade.GetUpgradeType()),
			append(slices.Clone(steps), "upgrade_configs", strconv.Itoa(i), "filters"))
	}
	if len(renamed) > 0 {
		renamePerRoute(hcm, renamed)
	}
	return in.loggers(hcm, place, steps) || len(renamed) > 0
}

// filters takes the Wasm filters out of one list. It records in renamed the
// names of the slots by the filters' original names.
func (in *inline) filters(list []*hcmv3.HttpFilter, renamed map[string][]string, place, steps []string) {
	for i, h := range list {
		at := append(slices.Clone(steps), strconv.Itoa(i))
		path := in.root.Locate(append(at, "typed_config"))
		wasm, ok := in.Wasm(path, in.at(path))
		if !ok {
			in.failed = true
		}
		code := wasm.GetConfig().GetVmConfig().GetCode()
		if !ok || h.GetName() == "" || code.GetRemote() == nil && code.GetLocal().GetFilename() == "" {
			continue
		}
		name := in.take(wasm, Place{At: Last}, path, in.root.Locate(append(at, "name")), SlotName(append(slices.Clone(place), h.GetName())...))
		if name == "" {
			in.failed = true
			continue
		}
		old := h.GetName()
		if slices.Contains(renamed[old], name) {
			// the same filter in another place
		} else if len(renamed[old]) < maxOfOneName {
			renamed[old] = append(renamed[old], name)
		} else {
			in.Problem(in.root.Locate(append(at, "name")), "give them names of their own", "more than %d different filters are called %q", maxOfOneName, old)
			in.failed = true
			continue
		}
		slot := Slot(name, in.taken[name].OnFailure == Open)
		slot.Disabled, slot.IsOptional = h.GetDisabled(), h.GetIsOptional()
		list[i] = slot
	}
}

// take adds a filter under a unique name and returns that name: the wanted one,
// with an ordinal if another filter has it. It returns "" on an error.
func (in *inline) take(wasm *wasmv3.Wasm, place Place, path, nameAt, wanted string) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(wasm)
	if err != nil {
		in.Problem(path, "", "%v", err)
		return ""
	}
	same := [2]string{wanted, string(b)}
	if name := in.names[same]; name != "" {
		return name // one slot for both
	}
	f := in.WasmFilter(path, wasm, Mirror)
	if f == nil {
		return ""
	}
	name := wanted
	if in.wanted[wanted]++; in.wanted[wanted] > 1 {
		name = fmt.Sprintf("%s#%d", wanted, in.wanted[wanted])
	}
	f.Name, f.Kind, f.Place = name, inlineKind, place
	f.Pos.Line = in.root.LineOf(nameAt)
	in.names[same], in.taken[name] = name, f
	in.AddFilter(f, map[string]string{"name": nameAt, "module": path})
	return name
}

// inlineKind is the Kind of filters that are written in a raw listener.
const inlineKind = "HttpFilter"
