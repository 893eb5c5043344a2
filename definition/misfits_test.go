package definition_test

import (
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
)

// TestMisfits checks that a slot with a name given by users accepts filters of
// one kind, and a filter of the other kind excludes the listener's document.
func TestMisfits(t *testing.T) {
	const listener = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: raw
address: {socket_address: {address: 127.0.0.1, port_value: 6}}
filter_chains:
- filters:
  - name: net
    config_discovery: {config_source: {ads: {}}, type_urls: [type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm]}
  - name: hcm
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: raw
      route_config: {name: none}
      http_filters:
      - name: http
        config_discovery: {config_source: {ads: {}}, type_urls: [type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm]}
      - name: router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`
	filter := func(name, place string) string {
		return "---\n{kind: WasmFilter, name: " + name + ", module: {url: a.wasm}, attach: {listeners: []}" + place + "}\n"
	}
	for text, want := range map[string]string{
		filter("net", ", place: network") + filter("http", ""): "",
		filter("net", "") + filter("http", ""):                 `its slot "net" is for a network filter, and the filter net is for HTTP`,
		filter("http", ", place: network first"):               `its slot "http" is for an HTTP filter, and the filter http is a network filter`,
	} {
		parsed, problems := kinds.Parser().Parse("filters.yaml", []byte(text[4:]))
		raw, more := kinds.Parser().Parse("raw.yaml", []byte(listener))
		if parsed == nil || raw == nil {
			t.Fatal(problems, more)
		}
		set, problems := definition.Merge([]*definition.File{parsed, raw})
		conflicts := definition.Conflicts(parsed.Filters, nil, raw.Resources)
		switch {
		case want == "" && (len(problems) > 0 || len(conflicts) > 0 || len(set.Resources) != 1):
			t.Errorf("%v, %v", problems, conflicts)
		case want != "" && (len(problems) != 1 || problems[0].Message != want || problems[0].File != "raw.yaml" || problems[0].Line != 4 || len(set.Resources) != 0):
			t.Errorf("%+v, want %s", problems, want)
		case want != "" && (len(conflicts) != 1 || !strings.HasSuffix(conflicts[0], want)):
			t.Errorf("%v, want %s", conflicts, want)
		}
	}
}
