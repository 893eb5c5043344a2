package gateway

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// The functions below read documents that have errors. What can't be read with
// certainty is assumed to be the strictest: a filter that fails closed, in
// every listener.

// Hole reads onFailure and which listeners the policy names.
func (*policies) Hole(d *definition.Doc, h *definition.Hole) {
	spec := d.Root().Get("spec")
	if spec.Get("lua") == nil && policyOpen(spec.Get("wasm")) {
		h.OnFailure = definition.Open
	}
	h.Attach, h.HTTP = policyAsRead(spec), true
}

// policyAsRead reads which listeners an EnvoyExtensionPolicy names.
func policyAsRead(spec *document.Node) definition.Attach {
	var to struct {
		TargetRef  *policyTarget  `json:"targetRef"`
		TargetRefs []policyTarget `json:"targetRefs"`
	}
	if !spec.Only("targetRef", "targetRefs").Exact(&to) || spec.Get("targetSelectors") != nil {
		return definition.Everywhere()
	}
	targets := to.TargetRefs
	if to.TargetRef != nil {
		targets = append(targets, *to.TargetRef)
	}
	var made definition.Attach
	for _, t := range targets {
		switch {
		case t.Kind == routeKind:
			made.Listeners = append(made.Listeners, toRoutes([]string{t.Name}))
		case t.Kind != "Gateway":
			return definition.Everywhere()
		case t.SectionName == "":
			made.Listeners = append(made.Listeners, definition.ListenerMatch{Direction: definition.Gateway})
		default:
			made.Listeners = append(made.Listeners, definition.ListenerMatch{Direction: definition.Any, Names: []string{t.SectionName}})
		}
	}
	if len(made.Listeners) == 0 {
		return definition.Everywhere()
	}
	return made
}

// policyOpen reports whether each module of an EnvoyExtensionPolicy fails open.
func policyOpen(wasm *document.Node) bool {
	if wasm == nil || wasm.Kind != document.List || len(wasm.Items) == 0 {
		return false
	}
	for _, item := range wasm.Items {
		open := item.Get("failOpen")
		if open == nil || open.Kind != document.Bool || open.Text != "true" {
			return false
		}
	}
	return true
}

// Unrelated reports whether the policy only has other types of extensions.
func (*policies) Unrelated(d *definition.Doc) bool {
	spec := d.Root().Get("spec")
	return otherExtensions(spec) && !definition.MentionsWasm(spec)
}

// otherExtensions reports whether a policy has extensions, none of which are
// Wasm or Lua.
func otherExtensions(spec *document.Node) bool {
	if spec == nil || spec.Kind != document.Object {
		return false
	}
	some := false
	for _, f := range spec.Fields {
		switch f.Key {
		case "extProc", "dynamicModule":
			some = true
		case "wasm", "lua":
			return false
		default:
			if !slices.Contains(document.Names(extensionPolicySpec{}), f.Key) {
				return false
			}
		}
	}
	return some
}
