package definition

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// renamePerRoute applies the per-route configuration of filters to their slots.
func renamePerRoute(hcm *hcmv3.HttpConnectionManager, renamed map[string][]string) {
	left := map[string]bool{} // names of filters that stay inline
	for _, h := range hcm.GetHttpFilters() {
		left[h.GetName()] = true
	}
	for _, upgrade := range hcm.GetUpgradeConfigs() {
		for _, h := range upgrade.GetFilters() {
			left[h.GetName()] = true
		}
	}
	perRoute(hcm.ProtoReflect(), func(configs protoreflect.Map) {
		for _, old := range keys(configs) {
			names := renamed[old]
			value := configs.Get(mapKey(old))
			for _, name := range names {
				configs.Set(mapKey(name), value)
			}
			if len(names) > 0 && !left[old] {
				configs.Clear(mapKey(old))
			}
		}
	})
}

func mapKey(name string) protoreflect.MapKey { return protoreflect.ValueOfString(name).MapKey() }

// keys returns a copy of the keys of m.
func keys(m protoreflect.Map) []string {
	all := make([]string, 0, m.Len())
	m.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		all = append(all, key.String())
		return true
	})
	return all
}

// perRoute calls found for each typed_per_filter_config of routes, virtual
// hosts and weighted clusters in m.
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

// inlineSlots returns the slots of filters that are written in raw listeners,
// by the names that the filters have there.
func (s *Set) inlineSlots() map[string][]string {
	slots := map[string][]string{}
	for _, filter := range s.Filters {
		if filter.Kind == inlineKind {
			old := ownName(filter.Name)
			slots[old] = append(slots[old], filter.Name)
		}
	}
	return slots
}

// misses reports per-route configuration in a separate route configuration that
// refers to a filter by the name in its listener, which has become the name of
// a slot.
func (f *File) misses(r *Resource, slots map[string][]string) []Problem {
	routes, ok := r.Message.(*routev3.RouteConfiguration)
	if !ok || len(slots) == 0 {
		return nil
	}
	var problems []Problem
	seen := map[string]bool{}
	perRoute(routes.ProtoReflect(), func(configs protoreflect.Map) {
		for _, old := range keys(configs) {
			names := slots[old]
			has := func(name string) bool { return configs.Has(mapKey(name)) }
			if len(names) == 0 || seen[old] || slices.ContainsFunc(names, has) {
				continue
			}
			seen[old] = true
			problems = append(problems, f.problem(r, "", fmt.Sprintf("its typed_per_filter_config for %q holds for no Wasm filter of that name in a raw listener", old),
				"their slots are called "+strings.Join(names[:min(len(names), maxOfOneName)], ", ")))
		}
	})
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.Message, b.Message) })
	return problems
}

// ownName returns the last part of a slot's name. It is the filter's name in
// its listener, as written by escape.
func ownName(slot string) string {
	name := slot[strings.LastIndex(slot, "/")+1:]
	if i := strings.LastIndex(name, "#"); i >= 0 {
		name = name[:i]
	}
	return name
}
