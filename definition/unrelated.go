package definition

import (
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
)

// unrelated says whether a Kubernetes object that can't be used has nothing to
// do with Wasm: what "kubectl get" prints besides. What may be a filter with a
// mistake in it is not unrelated.
func (d *doc) unrelated() bool {
	version := plain(d.root.Get("apiVersion"))
	if d.root.Kind != document.Object || version == "" || d.root.Get("@type") != nil {
		return false
	}
	group, _, ok := strings.Cut(version, "/")
	if !ok {
		group = ""
	}
	spec := d.root.Get("spec")
	switch kind := plain(d.root.Get("kind")); kind {
	case "":
		return false
	case "EnvoyFilter":
		return wholePatches(spec.Get("configPatches")) && !mentionsWasm(spec)
	case "EnvoyExtensionPolicy":
		return otherExtensions(spec) && !mentionsWasm(spec)
	default:
		if _, known := kinds()[kind]; known || group == "extensions.istio.io" || nearKind(kind) {
			return false
		}
	}
	if !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
		return true // of Kubernetes itself
	}
	return !mentionsWasm(d.root.Without("metadata", "apiVersion"))
}

// passedOver tells of an object that is unrelated.
func (d *doc) passedOver(cause Problem) {
	kind := plain(d.root.Get("kind"))
	if _, known := kinds()[kind]; !known {
		d.warn("kind", "", "%s has nothing to do with Wasm, and is passed over", kind)
		return
	}
	d.warn("kind", "", "this %s has nothing to do with Wasm, and is passed over: %s", kind, strings.TrimPrefix(cause.Field+": "+cause.Message, ": "))
}

// nearKind says whether a kind may be one of ours, mistyped. The names of the
// others are so short that many words are near them.
func nearKind(kind string) bool {
	return document.Nearest(kind, []string{"WasmFilter", "WasmPlugin", "EnvoyFilter", "EnvoyExtensionPolicy"}) != ""
}

// wholePatches says whether each patch has something to put in place, or takes
// away: nothing is missing that may be a filter.
func wholePatches(patches *document.Node) bool {
	if patches == nil || patches.Kind != document.List {
		return false
	}
	return !slices.ContainsFunc(patches.Items, func(n *document.Node) bool {
		patch := n.Get("patch")
		return patch.Get("value") == nil && plain(patch.Get("operation")) != "REMOVE"
	})
}

// otherExtensions says whether a policy has extensions, none of them Wasm.
func otherExtensions(spec *document.Node) bool {
	if spec == nil || spec.Kind != document.Object {
		return false
	}
	some := false
	for _, f := range spec.Fields {
		switch f.Key {
		case "extProc", "lua", "dynamicModule":
			some = true
		case "wasm":
			return false
		default:
			if !slices.Contains(document.Names(extensionPolicySpec{}), f.Key) {
				return false
			}
		}
	}
	return some
}

// mentionsWasm says whether something speaks of a Wasm filter or of a place
// for one.
func mentionsWasm(n *document.Node) bool {
	found := false
	says := func(s string) {
		s = folded(s)
		for _, word := range []string{"wasm", "vmconfig", "configdiscovery"} {
			found = found || strings.Contains(s, word)
		}
	}
	walk(n, func(n *document.Node) {
		if n.Kind == document.Text {
			says(n.Text)
		}
		for _, f := range n.Fields {
			says(f.Key)
		}
	})
	return found
}
