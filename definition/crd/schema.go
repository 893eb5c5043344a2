package crd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// schema is a JSON Schema in its JSON form.
type schema = map[string]any

// converter makes the structural schema of a kind: without references, and only
// with keywords that Kubernetes supports.
type converter struct {
	defs   map[string]schema
	rules  map[string][]rule
	bounds map[string]schema
	used   map[string]bool // paths of rules and bounds that were applied
}

// spec returns the schema of spec: all fields of the kind except kind and name.
func (c *converter) spec(kind string) schema {
	c.used = map[string]bool{}
	of := maps.Clone(c.defs[kind])
	fields := maps.Clone(of["properties"].(schema))
	delete(fields, "kind")
	delete(fields, "name")
	of["properties"] = fields
	of["required"] = slices.DeleteFunc(slices.Clone(of["required"].([]any)), func(f any) bool { return f == "kind" || f == "name" })
	return c.convert(of, "spec")
}

// kept are the keywords that a structural schema shares.
var kept = []string{"type", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength",
	"minItems", "maxItems", "minProperties", "maxProperties", "required"}

func (c *converter) convert(of schema, path string) schema {
	if ref, ok := of["$ref"].(string); ok {
		with := maps.Clone(c.defs[strings.TrimPrefix(ref, "#/$defs/")])
		if d, ok := of["description"]; ok {
			with["description"] = d
		}
		of = with
	}
	made := schema{}
	for _, key := range kept {
		if value, ok := of[key]; ok {
			made[key] = value
		}
	}
	for _, end := range []string{"Minimum", "Maximum"} {
		if bound, ok := of["exclusive"+end]; ok {
			made[strings.ToLower(end)], made["exclusive"+end] = bound, true
		}
	}
	_, several := of["anyOf"]
	if _, one := of["oneOf"]; one || several {
		made["x-kubernetes-preserve-unknown-fields"] = true
	}
	if fields, ok := of["properties"].(schema); ok {
		properties := schema{}
		for name, field := range fields {
			properties[name] = c.convert(field.(schema), path+"."+name)
		}
		made["properties"] = properties
	}
	if values, ok := of["additionalProperties"].(schema); ok {
		made["additionalProperties"] = c.convert(values, path+".*")
	}
	if items, ok := of["items"].(schema); ok {
		made["items"] = c.convert(items, path+"[]")
	}
	if bound, ok := c.bounds[path]; ok {
		c.used[path] = true
		maps.Copy(made, bound)
	}
	if rules, ok := c.rules[path]; ok {
		c.used[path] = true
		var written []any
		for _, r := range rules {
			written = append(written, map[string]any{"rule": r.cel, "message": r.message})
		}
		made["x-kubernetes-validations"] = written
	}
	return made
}

// unused returns an error if a rule or a bound is for a field that does not
// exist.
func (c *converter) unused() error {
	for _, path := range slices.Concat(slices.Sorted(maps.Keys(c.rules)), slices.Sorted(maps.Keys(c.bounds))) {
		if !c.used[path] {
			return fmt.Errorf("a rule is for %s, which is not there", path)
		}
	}
	return nil
}
