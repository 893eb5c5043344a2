package kube

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"wasmxds/definition"
)

// kind is a supported kind of object.
type kind struct {
	name, plural   string
	group, version string
}

func (k kind) resource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: k.group, Version: k.version, Resource: k.plural}
}

func (k kind) native() bool { return k.group == definition.Group }

func allKinds() []kind {
	return []kind{
		{"WasmFilter", "wasmfilters", definition.Group, definition.Version},
		{"Listener", "listeners", definition.Group, definition.Version},
		{"Rollout", "rollouts", definition.Group, definition.Version},
		{"WasmPlugin", "wasmplugins", "extensions.istio.io", "v1alpha1"},
		{"EnvoyFilter", "envoyfilters", "networking.istio.io", "v1alpha3"},
		{"EnvoyExtensionPolicy", "envoyextensionpolicies", "gateway.envoyproxy.io", "v1alpha1"},
		{"LuaFilter", "luafilters", definition.Group, definition.Version},
		{"TrafficExtension", "trafficextensions", "extensions.istio.io", "v1alpha1"},
		{"FilterTest", "filtertests", definition.Group, definition.Version},
	}
}

// Kinds returns the names of all supported kinds.
func Kinds() []string {
	var names []string
	for _, k := range allKinds() {
		names = append(names, k.name)
	}
	return names
}

// Check returns an error if the name of a kind is invalid.
func Check(names []string) error {
	if _, err := chosen(names); err != nil {
		return fmt.Errorf("kubernetes: %w", err)
	}
	return nil
}

// chosen returns the kinds of these names. No names means all kinds.
func chosen(names []string) ([]kind, error) {
	all := allKinds()
	if len(names) == 0 {
		return all, nil
	}
	var kinds []kind
	for _, name := range names {
		i := slices.IndexFunc(all, func(k kind) bool { return k.name == name })
		if i < 0 {
			return nil, fmt.Errorf("kind %s is not supported; the supported kinds are %s", name, strings.Join(Kinds(), ", "))
		}
		kinds = append(kinds, all[i])
	}
	return kinds, nil
}
