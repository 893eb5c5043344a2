package istio

import (
	"slices"
	"strings"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
)

// The functions below read documents that have errors. What can't be read with
// certainty is assumed to be the strictest: a filter that fails closed, in
// every listener.

// Hole reads onFailure and where the plugin belongs.
func (wasmPlugins) Hole(d *definition.Doc, h *definition.Hole) {
	spec := d.Root().Get("spec")
	wasmAsRead(spec, h)
	h.Attach = extensionAsRead(d, spec)
}

// Hole reads onFailure and where the extension belongs.
func (trafficExtensions) Hole(d *definition.Doc, h *definition.Hole) {
	spec := d.Root().Get("spec")
	switch wasm, lua := spec.Get("wasm"), spec.Get("lua"); {
	case wasm == nil && lua != nil:
		h.HTTP = true
	case wasm != nil && lua == nil:
		wasmAsRead(wasm, h)
	}
	h.Attach = extensionAsRead(d, spec)
}

// wasmAsRead reads whether a plugin fails open, and whether it is for HTTP.
func wasmAsRead(config *document.Node, h *definition.Hole) {
	if strings.EqualFold(document.TextOf(config.Get("failStrategy")), "FAIL_OPEN") {
		h.OnFailure = definition.Open
	}
	kind := document.TextOf(config.Get("type"))
	h.HTTP = config.Get("type") == nil || kind == "HTTP" || kind == "UNSPECIFIED_PLUGIN_TYPE"
}

// extensionAsRead reads where a WasmPlugin or TrafficExtension belongs.
func extensionAsRead(d *definition.Doc, spec *document.Node) definition.Attach {
	made := definition.Everywhere()
	var where struct {
		Selector labelSelector `json:"selector"`
	}
	if spec.Only("selector").Exact(&where) {
		made.Nodes.Labels = where.Selector.MatchLabels
	}
	var to struct {
		Match []trafficSelector `json:"match"`
	}
	if spec.Only("match").Exact(&to) {
		var of []definition.ListenerMatch
		if d.Try(func(d *definition.Doc) { of = listeners(d, to.Match) }) {
			made.Listeners = of
		}
	}
	return made
}

// Unrelated returns false: a WasmPlugin always concerns Wasm.
func (wasmPlugins) Unrelated(*definition.Doc) bool { return false }

// Hole reads onFailure and where the filters are placed.
func (*patches) Hole(d *definition.Doc, h *definition.Hole) {
	spec := d.Root().Get("spec")
	if allOpen(spec) {
		h.OnFailure = definition.Open
	}
	h.Attach = envoyFilterAsRead(spec)
	h.HTTP = onlyHTTP(spec.Get("configPatches"))
}

// envoyFilterAsRead reads where an EnvoyFilter places filters.
func envoyFilterAsRead(spec *document.Node) definition.Attach {
	var made definition.Attach
	var where struct {
		WorkloadSelector struct {
			Labels map[string]string `json:"labels"`
		} `json:"workloadSelector"`
	}
	if spec.Only("workloadSelector").Exact(&where) {
		made.Nodes.Labels = where.WorkloadSelector.Labels
	}
	patches := spec.Get("configPatches")
	if patches == nil || patches.Kind != document.List {
		made.Listeners = definition.Everywhere().Listeners
		return made
	}
	for _, patch := range patches.Items {
		switch document.TextOf(patch.Get("applyTo")) {
		case "CLUSTER", "EXTENSION_CONFIG":
			continue // has nothing to do with listeners
		}
		m := definition.ListenerMatch{Direction: definition.Any}
		var to struct {
			Match configMatch `json:"match"`
		}
		if patch.Only("match").Exact(&to) {
			m.Direction = contextDirection(to.Match.Context)
			if l := to.Match.Listener; l != nil && l.Name != "" {
				m.Names = []string{l.Name}
			}
			if l := to.Match.Listener; l != nil && l.PortNumber != 0 {
				m.Ports = []uint32{l.PortNumber}
			}
		}
		made.Listeners = append(made.Listeners, m)
	}
	if len(made.Listeners) == 0 {
		made.Listeners = definition.Everywhere().Listeners
	}
	return made
}

// allOpen reports whether there are Wasm filters in Envoy's form, all of which
// fail open, and no Lua filter, which never does.
func allOpen(n *document.Node) bool {
	open, closed := 0, 0
	n.Walk(func(n *document.Node) {
		if mentionsLua(n.Get("patch").Get("value")) {
			closed++
		}
		var vm, failOpen bool
		for _, f := range n.Fields {
			switch document.Folded(f.Key) {
			case "vmconfig":
				vm = true
			case "failopen":
				failOpen = failOpen || f.Value.Kind == document.Bool && f.Value.Text == "true"
			case "failurepolicy":
				failOpen = failOpen || strings.EqualFold(document.TextOf(f.Value), "FAIL_OPEN")
			}
		}
		switch {
		case vm && failOpen:
			open++
		case vm:
			closed++
		}
	})
	return open > 0 && closed == 0
}

// Unrelated reports whether no patch concerns Wasm or contains a Lua filter.
func (*patches) Unrelated(d *definition.Doc) bool {
	spec := d.Root().Get("spec")
	patches := spec.Get("configPatches")
	return wholePatches(patches) && !definition.MentionsWasm(spec) &&
		!slices.ContainsFunc(patches.Items, func(n *document.Node) bool { return mentionsLua(n.Get("patch").Get("value")) })
}

// mentionsLua reports whether the value of a patch contains a Lua filter or
// refers to one.
func mentionsLua(value *document.Node) bool {
	found := false
	says := func(s string) {
		s = document.Folded(s)
		found = found || strings.Contains(s, "http.lua") || s == "envoy.lua" || s == "inlinecode"
	}
	value.Walk(func(n *document.Node) {
		says(document.TextOf(n))
		for _, f := range n.Fields {
			says(f.Key)
		}
	})
	return found
}

// wholePatches reports whether each patch has a value or is a removal, so that
// nothing is missing that may be a filter.
func wholePatches(patches *document.Node) bool {
	if patches == nil || patches.Kind != document.List {
		return false
	}
	return !slices.ContainsFunc(patches.Items, func(n *document.Node) bool {
		patch := n.Get("patch")
		return patch.Get("value") == nil && document.TextOf(patch.Get("operation")) != "REMOVE"
	})
}

// onlyHTTP reports whether the patches apply only to HTTP filters, apart from
// those that don't concern filter chains.
func onlyHTTP(patches *document.Node) bool {
	if patches == nil || patches.Kind != document.List || len(patches.Items) == 0 {
		return false
	}
	return !slices.ContainsFunc(patches.Items, func(patch *document.Node) bool {
		return !slices.Contains([]string{"HTTP_FILTER", "EXTENSION_CONFIG", "CLUSTER"}, document.TextOf(patch.Get("applyTo")))
	})
}
