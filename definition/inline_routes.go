package definition

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

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

// keys are those of a map as it is now.
func keys(m protoreflect.Map) []string {
	all := make([]string, 0, m.Len())
	m.Range(func(key protoreflect.MapKey, _ protoreflect.Value) bool {
		all = append(all, key.String())
		return true
	})
	return all
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

// inlineSlots are the slots of filters that stand in raw listeners, by the
// names that those have there.
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

// misses finds what a route configuration of its own says of a filter by the
// name that it has in its listener, and no longer has there.
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

// ownName is the last part of a slot's name, which is what the filter is
// called in its listener, but for what escape has written otherwise.
func ownName(slot string) string {
	name := slot[strings.LastIndex(slot, "/")+1:]
	if i := strings.LastIndex(name, "#"); i >= 0 {
		name = name[:i]
	}
	return name
}
