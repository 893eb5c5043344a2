package definition

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const managerName = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"

// inline takes the Wasm filters out of the HTTP connection managers of a raw
// listener. Each becomes a filter, attached to nothing, and the listener has a
// slot for it in its place: as it stood there Envoy would fetch it, or not,
// with traffic under way. What has its code in the listener itself stays.
type inline struct {
	*doc
	listener *listenerv3.Listener
	taken    map[string]*Filter // by name
	failed   bool
}

// takeInline says whether nothing was wrong.
func (d *doc) takeInline(l *listenerv3.Listener) bool {
	in := &inline{doc: d, listener: l, taken: map[string]*Filter{}}
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
		path := in.root.Locate(at)
		hcm := &hcmv3.HttpConnectionManager{}
		wrapped, body := bodyOf(path, in.at(path), managerName)
		switch {
		case body == nil:
			continue
		case wrapped != path: // in a TypedStruct
			at = append(at, "value")
			if !in.message(wrapped, body, hcm) {
				in.failed = true
				continue
			}
		default:
			if err := f.GetTypedConfig().UnmarshalTo(hcm); err != nil {
				in.problem(path, "", "%v", err)
				in.failed = true
				continue
			}
		}
		if changed := in.manager(hcm, chain.GetName(), at); !changed && wrapped == path {
			continue
		}
		value := new(anypb.Any)
		if err := anypb.MarshalFrom(value, hcm, proto.MarshalOptions{Deterministic: true}); err != nil {
			in.problem(path, "", "%v", err)
			in.failed = true
			continue
		}
		f.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: value}
	}
}

// manager takes the filters of an HTTP connection manager that is written at
// steps and says whether there were any.
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
	return len(renamed) > 0
}

// filters takes the Wasm filters of one list; renamed gets the slots' names by
// the names they had.
func (in *inline) filters(list []*hcmv3.HttpFilter, renamed map[string][]string, place, steps []string) {
	for i, h := range list {
		at := append(slices.Clone(steps), strconv.Itoa(i))
		path := in.root.Locate(append(at, "typed_config"))
		wasm, ok := in.wasm(path, in.at(path))
		if !ok {
			in.failed = true
		}
		code := wasm.GetConfig().GetVmConfig().GetCode()
		if !ok || h.GetName() == "" || code.GetRemote() == nil && code.GetLocal().GetFilename() == "" {
			continue
		}
		name := in.take(wasm, path, in.root.Locate(append(at, "name")), SlotName(append(slices.Clone(place), h.GetName())...))
		if name == "" {
			in.failed = true
			continue
		}
		if old := h.GetName(); !slices.Contains(renamed[old], name) {
			renamed[old] = append(renamed[old], name)
		}
		slot := Slot(name, in.taken[name].OnFailure == Open)
		slot.Disabled, slot.IsOptional = h.GetDisabled(), h.GetIsOptional()
		list[i] = slot
	}
}

// take adds the filter under a name that no other has and gives that: the one
// that is wanted, or with an ordinal where a filter that differs has it. Empty:
// something was wrong.
func (in *inline) take(wasm *wasmv3.Wasm, path, nameAt, wanted string) string {
	f := in.wasmFilter(path, wasm, Mirror)
	if f == nil {
		return ""
	}
	name := wanted
	for n := 2; ; n++ {
		other := in.taken[name]
		if other == nil {
			break
		}
		if proto.Equal(other.Wasm, wasm) {
			return name // one slot will do
		}
		name = fmt.Sprintf("%s#%d", wanted, n)
	}
	f.Name, f.Kind = name, inlineKind
	f.Pos.Line = in.root.LineOf(nameAt)
	in.taken[name] = f
	in.addFilter(f, map[string]string{"name": nameAt, "module": path})
	return name
}

// inlineKind is the Kind of filters that stand in a raw listener.
const inlineKind = "HttpFilter"

// renamePerRoute lets what routes say of a filter hold for its slots.
func renamePerRoute(hcm *hcmv3.HttpConnectionManager, renamed map[string][]string) {
	left := map[string]bool{} // names of filters that stay
	for _, h := range hcm.GetHttpFilters() {
		left[h.GetName()] = true
	}
	for _, upgrade := range hcm.GetUpgradeConfigs() {
		for _, h := range upgrade.GetFilters() {
			left[h.GetName()] = true
		}
	}
	perRoute(hcm.ProtoReflect(), func(configs protoreflect.Map) {
		for _, old := range slices.Sorted(maps.Keys(renamed)) {
			key := protoreflect.ValueOfString(old).MapKey()
			if !configs.Has(key) {
				continue
			}
			value := configs.Get(key)
			for _, name := range renamed[old] {
				configs.Set(protoreflect.ValueOfString(name).MapKey(), value)
			}
			if !left[old] {
				configs.Clear(key)
			}
		}
	})
}

// perRoute finds what routes, virtual hosts and clusters of routes have for
// filters by name.
func perRoute(m protoreflect.Message, found func(protoreflect.Map)) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Name() == "typed_per_filter_config" && fd.IsMap():
			found(v.Map())
		case fd.Message() == nil || fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				perRoute(v.List().Get(i).Message(), found)
			}
		default:
			perRoute(v.Message(), found)
		}
		return true
	})
}

// misses finds what a route configuration of its own says of a filter by the
// name that it has in its listener, and no longer has there.
func (f *File) misses(r *Resource, set *Set) []Problem {
	routes, ok := r.Message.(*routev3.RouteConfiguration)
	if !ok {
		return nil
	}
	slots := map[string][]string{}
	for _, filter := range set.Filters {
		if filter.Kind == inlineKind {
			old := ownName(filter.Name)
			slots[old] = append(slots[old], filter.Name)
		}
	}
	var problems []Problem
	seen := map[string]bool{}
	perRoute(routes.ProtoReflect(), func(configs protoreflect.Map) {
		for old, names := range slots {
			has := func(name string) bool { return configs.Has(protoreflect.ValueOfString(name).MapKey()) }
			if has(old) && !seen[old] && !slices.ContainsFunc(names, has) {
				seen[old] = true
				problems = append(problems, f.problem(r, "", fmt.Sprintf("its typed_per_filter_config for %q holds for no Wasm filter of that name in a raw listener", old),
					"their slots are called "+strings.Join(names, ", ")))
			}
		}
	})
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Message, b.Message) })
	return problems
}

// ownName is the last part of a slot's name, which is what the filter is
// called in its listener, but for what escape has written otherwise.
func ownName(slot string) string {
	name := slot[strings.LastIndex(slot, "/")+1:]
	if i := strings.LastIndex(name, "#"); i >= 0 {
		name = name[:i]
	}
	return name
}
