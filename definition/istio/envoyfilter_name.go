package istio

import (
	"strconv"
	"strings"

	"wasmxds/definition"
)

// nameInline gives inline filters unique names, because Envoy lets filters of
// different listeners, and of the same one, share a name. It appends what
// distinguishes them: the object, the direction, the listener, the plugin.
// These do not depend on the order of patches as long as they suffice.
func (r *patches) nameInline() {
	var inline []slotPatch
	for _, s := range r.slots {
		if s.inline != nil {
			inline = append(inline, s)
		}
	}
	for _, part := range []func(slotPatch) string{
		func(s slotPatch) string { return s.object.Metadata.Qualified() },
		func(s slotPatch) string { return string(s.listener.Direction) },
		func(s slotPatch) string { return words(s.listener) },
		func(s slotPatch) string { return s.inline.Wasm.GetConfig().GetName() },
		func(s slotPatch) string { return s.inline.RootID },
		func(s slotPatch) string { return strconv.Itoa(s.nth) },
	} {
		tellApart(inline, part)
	}
	for _, s := range inline {
		s.FilterName(s.value+".name", s.inline.Name)
	}
}

// tellApart appends a part to the names that several filters share and that the
// part distinguishes.
func tellApart(inline []slotPatch, part func(slotPatch) string) {
	parts := map[string]map[string]bool{} // by name
	for _, s := range inline {
		if parts[s.inline.Name] == nil {
			parts[s.inline.Name] = map[string]bool{}
		}
		parts[s.inline.Name][part(s)] = true
	}
	for _, s := range inline {
		if named := part(s); len(parts[s.inline.Name]) > 1 && named != "" && named != string(definition.Any) {
			s.inline.Name += "." + strings.Map(inName, named)
		}
	}
}

// words describes the listeners that m matches; "": all.
func words(m definition.ListenerMatch) string {
	words := m.Names
	for _, port := range m.Ports {
		words = append(words[:len(words):len(words)], strconv.FormatUint(uint64(port), 10))
	}
	return strings.Join(words, ".")
}

// inName replaces characters that are hard to type in a name.
func inName(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
		return r
	}
	return '_'
}
