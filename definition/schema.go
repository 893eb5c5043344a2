package definition

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode"

	"github.com/invopop/jsonschema"

	"wasmxds/definition/internal/document"
)

// Schema returns the JSON Schema of the native kinds and of raw resources, for
// completion and checks in editors. It is weaker than Parse: Parse rejects
// whatever the schema rejects, but not the reverse. Envoy's own messages are
// not described.
func Schema() ([]byte, error) {
	root := &jsonschema.Schema{
		Version:     jsonschema.Version,
		Title:       "wasmxds definition",
		Description: "One document of a definitions directory.",
		Definitions: jsonschema.Definitions{"Resource": resourceSchema(), "Bootstrap": bootstrapSchema()},
	}
	for _, kind := range []any{&wasmFilter{}, &luaFilter{}, &listener{}, &rollout{}, &filterTest{}} {
		s := reflector().Reflect(kind)
		name := exported(reflect.TypeOf(kind).Elem())
		for other, d := range s.Definitions {
			root.Definitions[other] = d
		}
		root.OneOf = append(root.OneOf, refer(name))
	}
	root.OneOf = append(root.OneOf, refer("Resource"), refer("Bootstrap"))
	filters, _ := root.Definitions["Route"].Properties.Get("filters")
	root.Definitions["RouteFilter"] = reflector().Reflect(&routeFilter{}).Definitions["RouteFilter"]
	filters.AdditionalProperties = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Enum: []any{"off", false}}, refer("RouteFilter")}}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(root); err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return out.Bytes(), nil
}

func refer(name string) *jsonschema.Schema { return &jsonschema.Schema{Ref: "#/$defs/" + name} }

func reflector() *jsonschema.Reflector {
	return &jsonschema.Reflector{
		Anonymous:                  true,
		RequiredFromJSONSchemaTags: true,
		Namer:                      exported,
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == reflect.TypeFor[document.Node]() { // a configuration
				return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "object"}, {Type: "array"}, {Type: "number"}, {Type: "boolean"}}}
			}
			return nil
		},
	}
}

// exported returns the name of a type with a capital.
func exported(t reflect.Type) string {
	name := []rune(t.Name())
	if len(name) > 0 {
		name[0] = unicode.ToUpper(name[0])
	}
	return string(name)
}

func resourceSchema() *jsonschema.Schema {
	types := &jsonschema.Schema{Type: "string", Description: "Type of the Envoy resource."}
	for _, m := range rawTypes() {
		types.Enum = append(types.Enum, typePrefix+string(m.ProtoReflect().Descriptor().FullName()))
	}
	s := &jsonschema.Schema{
		Type:        "object",
		Description: "An Envoy resource in its own JSON form.",
		Properties:  jsonschema.NewProperties(),
		Required:    []string{"@type"},
	}
	s.Properties.Set("@type", types)
	hints := reflector().Reflect(&extensionHints{}).Definitions["ExtensionHints"]
	for pair := hints.Properties.Oldest(); pair != nil; pair = pair.Next() {
		s.Properties.Set(pair.Key, pair.Value)
	}
	return s
}

// bootstrapSchema accepts a bootstrap, or a file for Envoy's file-based
// discovery.
func bootstrapSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{
		Type:        "object",
		Description: "An Envoy's bootstrap: its static_resources are served.",
		Properties:  jsonschema.NewProperties(),
	}
	s.Properties.Set("@type", &jsonschema.Schema{Type: "string", Enum: []any{bootstrapType}})
	for _, other := range notInBootstraps {
		s.Properties.Set(other, jsonschema.FalseSchema)
	}
	needs := []string{"@type", "listeners", "clusters", "resources"}
	for _, name := range slices.Sorted(maps.Keys(onlyBootstraps)) {
		needs = append(needs, name)
		if camel := bootstrapFields().ByTextName(name).JSONName(); camel != name {
			needs = append(needs, camel)
		}
	}
	for _, name := range needs {
		s.AnyOf = append(s.AnyOf, &jsonschema.Schema{Required: []string{name}})
	}
	return s
}
