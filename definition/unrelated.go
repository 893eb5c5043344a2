package definition

import (
	"slices"
	"strings"

	"wasmxds/definition/internal/document"
	"wasmxds/misspelt"
)

// unrelated reports whether a Kubernetes object that can't be used has nothing
// to do with Wasm, such as other output of "kubectl get". An object that may be
// a filter with an error is not unrelated.
func (d *Doc) unrelated() bool {
	version := document.TextOf(d.root.Get("apiVersion"))
	if d.root.Kind != document.Object || version == "" || d.root.Get("@type") != nil {
		return false
	}
	group, _, ok := strings.Cut(version, "/")
	if !ok {
		group = ""
	}
	kind := document.TextOf(d.root.Get("kind"))
	if kind == "" {
		return false
	}
	if r := d.reader(kind); r != nil {
		return r.Unrelated(d)
	}
	if kind == rolloutKind {
		return d.othersRollout()
	}
	if native()[kind] != nil || d.nearKind(group, kind) {
		return false
	}
	if !strings.Contains(group, ".") || strings.HasSuffix(group, ".k8s.io") {
		return true // of Kubernetes itself
	}
	return !MentionsWasm(d.root.Without("metadata", "apiVersion"))
}

// passedOver warns about an object that is ignored because it is unrelated.
func (d *Doc) passedOver(cause Problem) {
	kind := document.TextOf(d.root.Get("kind"))
	if kind == rolloutKind {
		d.Warn("kind", "one for xds-server has apiVersion: "+APIVersion+", or kind, name and waves alone",
			"this Rollout is one of %s, not of xds-server, and is passed over", document.TextOf(d.root.Get("apiVersion")))
		return
	}
	if d.reader(kind) == nil && native()[kind] == nil {
		d.Warn("kind", "", "%s has nothing to do with Wasm, and is passed over", kind)
		return
	}
	d.Warn("kind", "", "this %s has nothing to do with Wasm, and is passed over: %s", kind, strings.TrimPrefix(cause.Field+": "+cause.Message, ": "))
}

// ofAnotherGroup reports a problem if the document is of a kind of this name in
// another API group, such as the WasmPlugin of extensions.higress.io, whose
// fields are other ones.
func (d *Doc) ofAnotherGroup(kind string) bool {
	version := document.TextOf(d.root.Get("apiVersion"))
	group, _, _ := strings.Cut(version, "/")
	i := slices.IndexFunc(d.kinds, func(k Kind) bool { return k.Name == kind })
	if i < 0 || d.kinds[i].Group == "" || !strings.Contains(group, ".") || group == d.kinds[i].Group || misspelt.Nearest(group, []string{d.kinds[i].Group}) != "" {
		return false
	}
	d.Problem("apiVersion", "write it as a WasmFilter", "%q has a %s of its own, which is not known here, only that of %s", group, kind, d.kinds[i].Group)
	return true
}

// nearKind reports whether a kind may be one of ours, mistyped, or belongs to a
// group whose kinds are all for Wasm. Listener and List are not compared: they
// are so short that many words resemble them.
func (p *parser) nearKind(group, kind string) bool {
	if group == Group {
		return true
	}
	names := []string{"WasmFilter", luaKind, testKind}
	for _, k := range p.kinds {
		names = append(names, k.Name)
		if k.Group != "" && k.Group == group {
			return true
		}
	}
	return misspelt.Nearest(kind, names) != ""
}

// MentionsWasm reports whether a document mentions a Wasm filter or a slot for
// one.
func MentionsWasm(n *document.Node) bool {
	found := false
	says := func(s string) {
		s = document.Folded(s)
		for _, word := range []string{"wasm", "vmconfig", "configdiscovery"} {
			found = found || strings.Contains(s, word)
		}
	}
	n.Walk(func(n *document.Node) {
		if n.Kind == document.Text {
			says(n.Text)
		}
		for _, f := range n.Fields {
			says(f.Key)
		}
	})
	return found
}
