package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// testCase is a listener with or without a filter, as definitions.
type testCase struct {
	name   string
	files  map[string]string
	header string   // what the filter makes of the request; "": nothing
	args   []string // of xds-server
	module string   // file of the filter's module; "": it has none
	config string   // of its plugin
}

// web answers by itself, and tells the header that it got.
const web = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: web
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: web
      route_config:
        virtual_hosts:
        - name: all
          domains: ["*"]
          routes:
          - match: {prefix: /}
            direct_response: {status: 200, body: {inline_string: ok}}
            response_headers_to_add:
            - header: {key: x-seen, value: "%REQ(x-my-custom-header)%"}
      http_filters:
FILTERS      - name: envoy.filters.http.router
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
`

const lua = `      - name: envoy.filters.http.lua
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
          default_source_code:
            inline_string: |
              function envoy_on_request(handle)
                local headers = handle:headers()
                headers:remove("x-my-custom-header")
                headers:add("x-my-custom-header", "hello world")
              end
`

// spare is a slot that holds a filter that does nothing. It comes by ECDS, as
// any filter in a slot does.
const spare = `      - name: spare-%d
        config_discovery:
          config_source: {ads: {}, resource_api_version: V3, initial_fetch_timeout: 0s}
          type_urls: [type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation]
`

const nothing = `"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
name: spare-%d
typed_config:
  "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
`

const wasm = `kind: WasmFilter
name: hello
module: {url: "%s"}
config: %s
attach: {listeners: [web]}
`

func caseOf(name, modules string) (testCase, error) {
	c := testCase{name: name, header: "hello world", files: map[string]string{"web.yaml": strings.Replace(web, "FILTERS", "", 1)},
		args: []string{"--spare-slots", "0", fmt.Sprintf("--signals=%t", name == "signals")}} // a case says what there is
	module := map[string]string{
		"go": "header.wasm", "go-correlation": "correlation.wasm", "go-metrics": "metrics.wasm",
		"rust": "rust-header.wasm", "rust-correlation": "rust-correlation.wasm",
	}[name]
	switch {
	case name == "none", name == "signals":
		c.header = ""
	case strings.HasPrefix(name, "spares-"):
		return c, c.spares(strings.TrimPrefix(name, "spares-"))
	case name == "lua":
		c.files["web.yaml"] = strings.Replace(web, "FILTERS", lua, 1)
	case module != "":
		path, err := filepath.Abs(filepath.Join(modules, module))
		if err != nil {
			return c, err
		}
		if _, err := os.Stat(path); err != nil {
			return c, fmt.Errorf("%w: `make filters` builds the one in Go, examples/rust/build.sh the one in Rust; or -cases without %q", err, name)
		}
		c.module, c.config = path, `{"header": "X-my-custom-header", "value": "hello world"}`
		if name != "go" && name != "rust" {
			c.header, c.config = "", "{}"
		}
		c.files["hello.yaml"] = fmt.Sprintf(wasm, path, c.config)
	default:
		return c, fmt.Errorf("-cases: %s is none of none, signals, spares-N, rust, rust-correlation, go, go-correlation, go-metrics and lua", name)
	}
	return c, nil
}

// spares makes it a listener with so many slots that hold nothing.
func (c *testCase) spares(count string) error {
	n, err := strconv.ParseUint(count, 10, 8)
	if err != nil {
		return fmt.Errorf("-cases: spares-%s: %w", count, err)
	}
	c.header = ""
	var slots strings.Builder
	for i := range n {
		fmt.Fprintf(&slots, spare, i)
		c.files[fmt.Sprintf("spare-%d.yaml", i)] = fmt.Sprintf(nothing, i)
	}
	c.files["web.yaml"] = strings.Replace(web, "FILTERS", slots.String(), 1)
	return nil
}

func (c testCase) write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range c.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// answers is nil when a request has passed the filter.
func (c testCase) answers(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return err
	}
	r.Close = true
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", answer.Status)
	}
	if got := strings.Trim(answer.Header.Get("x-seen"), "-"); got != c.header {
		return fmt.Errorf("the request had the header %q, want %q", got, c.header)
	}
	return nil
}
