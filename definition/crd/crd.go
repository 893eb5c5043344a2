// Package crd makes the CustomResourceDefinitions of the native kinds, so that
// a Kubernetes API server stores their objects and itself rejects most
// mistakes.
//
// Start with [YAML]. The spec of an object has the fields of a definition in a
// file, except kind and name. Its schema is derived from the schema for
// editors, which is derived from the Go types. Rules that a schema can't
// express are in rules.go, in CEL.
package crd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"go.yaml.in/yaml/v3"

	"wasmxds/definition"
)

// kind is a native kind, or one that xds-server writes.
type kind struct {
	name, plural, singular string
	short                  []string
	what                   string
	columns                []any
	told                   bool // only xds-server writes it, and it has no spec
}

func kinds() []kind {
	return []kind{
		{
			name: "WasmFilter", plural: "wasmfilters", singular: "wasmfilter", short: []string{"wf"},
			what: "A WasmFilter is a Wasm HTTP filter: a module, its configuration, and the listeners and Envoys that it belongs in.",
			columns: []any{
				column("Module", ".spec.module.url"),
				conditionColumn("Accepted"), conditionColumn("Running"),
				wide("Envoys", `.status.conditions[?(@.type=="Running")].message`),
				age(),
			},
		},
		{
			name: "LuaFilter", plural: "luafilters", singular: "luafilter", short: []string{"lf"},
			what: "A LuaFilter is a Lua HTTP filter: a script, and the listeners and Envoys that it belongs in.",
			columns: []any{
				column("Place", ".spec.place"),
				conditionColumn("Accepted"), conditionColumn("Running"),
				wide("Envoys", `.status.conditions[?(@.type=="Running")].message`),
				age(),
			},
		},
		{
			name: "Listener", plural: "listeners", singular: "listener",
			what: "A Listener is an HTTP listener of Envoys with its routes.",
			columns: []any{
				column("Address", ".spec.address"),
				column("Direction", ".spec.direction"),
				conditionColumn("Accepted"),
				age(),
			},
		},
		{
			name: "Rollout", plural: "rollouts", singular: "rollout",
			what: "A Rollout says how changes of definitions reach the fleet: in which waves, and what stops them.",
			columns: []any{
				column("Bake", ".spec.bake"),
				column("Then", ".spec.then"),
				conditionColumn("Accepted"),
				age(),
			},
		},
		{
			name: "FilterTest", plural: "filtertests", singular: "filtertest", short: []string{"ft"},
			what: "A FilterTest says what a filter must do with certain requests. No version of the filter that does otherwise reaches an Envoy.",
			columns: []any{
				column("Filter", ".spec.filter"),
				conditionColumn("Accepted"),
				age(),
			},
		},
		{
			name: "Change", plural: "changes", singular: "change", told: true,
			what: "A Change says how far a change of definitions is. xds-server writes it, and deletes it when it is forgotten.",
			columns: []any{
				column("Of", ".status.of"), column("State", ".status.state"),
				column("Wave", ".status.inWave"), column("Running", ".status.progress"),
				wide("Policy", ".status.policy"), wide("How far", ".status.message"),
				age(),
			},
		},
	}
}

func column(name, path string) any {
	return map[string]any{"name": name, "type": "string", "jsonPath": path}
}

// wide returns a column of kubectl get -o wide.
func wide(name, path string) any {
	return map[string]any{"name": name, "type": "string", "priority": 1, "jsonPath": path}
}

func conditionColumn(name string) any {
	return column(name, `.status.conditions[?(@.type=="`+name+`")].status`)
}

func age() any {
	return map[string]any{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
}

// YAML returns the CustomResourceDefinitions, one in each document.
func YAML() ([]byte, error) {
	written, err := definition.Schema()
	if err != nil {
		return nil, err
	}
	var editors struct {
		Defs map[string]schema `json:"$defs"`
	}
	if err := json.Unmarshal(written, &editors); err != nil {
		return nil, fmt.Errorf("read the schema: %w", err)
	}
	var out bytes.Buffer
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	for _, k := range kinds() {
		c := converter{defs: editors.Defs, rules: rules()[k.name], bounds: bounds()[k.name]}
		fields := schema{"status": changeStatus()}
		if !k.told {
			fields = schema{"spec": c.spec(k.name), "status": status()}
		}
		if err := enc.Encode(k.definition(fields)); err != nil {
			return nil, fmt.Errorf("write the CRD of %s: %w", k.name, err)
		}
		if err := c.unused(); err != nil {
			return nil, fmt.Errorf("CRD of %s: %w", k.name, err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write the CRDs: %w", err)
	}
	return out.Bytes(), nil
}

// definition returns the CRD of a kind whose objects have these fields.
func (k kind) definition(fields schema) map[string]any {
	names := map[string]any{
		"kind": k.name, "listKind": k.name + "List", "plural": k.plural, "singular": k.singular,
		"categories": []string{"wasmxds"},
	}
	if len(k.short) > 0 {
		names["shortNames"] = k.short
	}
	text := func(description string) map[string]any {
		return map[string]any{"type": "string", "description": description}
	}
	properties := schema{"apiVersion": text(definition.APIVersion), "kind": text(k.name), "metadata": map[string]any{"type": "object"}}
	maps.Copy(properties, fields)
	object := schema{"type": "object", "description": k.what, "properties": properties}
	version := map[string]any{
		"name": definition.Version, "served": true, "storage": true,
		"additionalPrinterColumns": k.columns,
		"schema":                   map[string]any{"openAPIV3Schema": object},
	}
	if !k.told {
		object["required"] = []string{"spec"}
		version["subresources"] = map[string]any{"status": map[string]any{}}
	}
	return map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1",
		"kind":       "CustomResourceDefinition",
		"metadata":   map[string]any{"name": k.plural + "." + definition.Group},
		"spec": map[string]any{
			"group": definition.Group, "names": names, "scope": "Namespaced", "versions": []any{version},
		},
	}
}
