package definition_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
)

// TestConvertStatic checks that a bootstrap is written in the native kinds
// where these express the same, and otherwise in Envoy's form.
func TestConvertStatic(t *testing.T) {
	const name = "testdata/static/envoy.yaml"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := definition.Parser{}.Parse(name, data)
	if file == nil {
		t.Fatal(definitiontest.Told(problems))
	}
	written, err := definition.Convert(file)
	if err != nil {
		t.Fatal(err)
	}
	definitiontest.Golden(t, name+".converted", written)
	again, problems := definition.Parser{}.Parse("testdata/static/again.yaml", written)
	if again == nil || len(problems) > 0 {
		t.Fatal(definitiontest.Told(problems))
	}
	for _, f := range []*definition.File{file, again} {
		if _, problems := definition.Merge([]*definition.File{f}); len(problems) > 0 {
			t.Errorf("%s: %s", f.Name, definitiontest.Told(problems))
		}
	}
	elsewhere, err := definition.ConvertTo(file, "testdata/other")
	if err != nil {
		t.Fatal(err)
	}
	moved, problems := definition.Parser{}.Parse("testdata/other/again.yaml", elsewhere)
	if moved == nil {
		t.Fatal(definitiontest.Told(problems))
	}
	for i, f := range moved.Filters {
		if f.Module != again.Filters[i].Module {
			t.Errorf("in another folder the module of %s is %s, not %s", f.Name, f.Module.URL, again.Filters[i].Module.URL)
		}
	}
}

// TestConvertStaticNearly checks that a listener that differs from a native one
// in any way stays in Envoy's form.
func TestConvertStaticNearly(t *testing.T) {
	data, err := os.ReadFile("testdata/static/envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	plain := text[:strings.Index(text, "  - name: raw\n")] + text[strings.Index(text, "  clusters:\n"):strings.Index(text, "---\n")]
	for from, to := range map[string]string{
		"":                                   "",
		"INBOUND":                            "INBOUND\n    reuse_port: true",
		"8080}}":                             "8080, protocol: UDP}}",
		"127.0.0.1, port_value: 9000":        "127.0.0.1, port_value: 0",
		"127.0.0.1, port_value: 8080":        "127.0.0.1, port_value: 8080, ipv4_compat: true",
		"- filters:":                         "- name: a\n      filters:",
		"codec_type: auto":                   "codec_type: HTTP2",
		"use_remote_address: true":           "use_remote_address: false",
		"normalize_path: true":               "merge_slashes: true",
		`domains: ["*"]`:                     `domains: ["a"]`,
		"{match: {prefix: /}, ":              "{match: {prefix: /}, name: x, ",
		"timeout: 1.5s":                      "idle_timeout: 1.5s",
		"name: first\n":                      "name: first\n            disabled: true\n",
		"fail_open: true":                    "reload_config: {}",
		"name: ip, weight: 1":                "name: ip, weight: 0",
		"connect_timeout: 5s":                "connect_timeout: 6s",
		"type: STRICT_DNS":                   "type: LOGICAL_DNS",
		"dns_lookup_family: V4_PREFERRED":    "dns_lookup_family: AUTO",
		"address: shop":                      "address: 127.0.0.1",
		"  - name: called":                   "  - name: 127.0.0.1:9000",
		"filters.http.router.v3.Router}":     "filters.http.router.v3.Router, start_child_span: true}",
		"{name: ip, weight: 1}, ":            "{name: other, weight: 1}, ",
		"stat_prefix: ingress":               "stat_prefix: ingress\n          server_name: x",
		"- {match: {prefix: /}, route: {clu": "- {match: {prefix: /}, direct_response: {status: 200}}\n              - {match: {prefix: /}, route: {clu",
	} {
		if !strings.Contains(plain, from) {
			t.Errorf("there is no %q", from)
		}
		changed := plain
		if from != "" {
			changed = strings.Replace(plain, from, to, 1)
		}
		file, problems := definition.Parser{}.Parse(filepath.Join("dir", "envoy.yaml"), []byte(changed))
		if file == nil {
			t.Errorf("%q: %s", to, definitiontest.Told(problems))
			continue
		}
		written, err := definition.Convert(file)
		if err != nil {
			t.Errorf("%q: %v", to, err)
		}
		if native := strings.Contains(string(written), "kind: Listener"); native != (from == "") {
			t.Errorf("%q: native %v:\n%s", to, native, written)
		}
	}
}

// TestConvertFull checks that everything that a Listener can express is written
// as one.
func TestConvertFull(t *testing.T) {
	const name = "testdata/static/full.yaml"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	convert := func(text string) string {
		file, problems := definition.Parser{}.Parse(name, []byte(text))
		if file == nil {
			t.Fatal(definitiontest.Told(problems))
		}
		written, err := definition.Convert(file)
		if err != nil {
			t.Fatal(err)
		}
		if again, problems := (definition.Parser{}).Parse("again.yaml", written); again == nil {
			t.Fatalf("%s\n%s", definitiontest.Told(problems), written)
		}
		return string(written)
	}
	text := string(data)
	definitiontest.Golden(t, name+".converted", []byte(convert(text)))
	for from, to := range map[string]string{
		"alpn_protocols: [h2, http/1.1]":                                    "alpn_protocols: [http/1.1]",
		"require_client_certificate: true":                                  "require_client_certificate: false",
		"{filename: /tls/a.crt}":                                            "{filename: a.crt}",
		"{filename: /tls/a.key}":                                            "{inline_string: x}",
		"{trusted_ca: {filename: /tls/ca.crt}}":                             "{trusted_ca: {filename: /tls/ca.crt}, only_verify_leaf_cert_crl: true}",
		"path: /dev/stdout":                                                 "path: /var/log/a",
		"ignore_port_in_host_matching: true":                                "ignore_port_in_host_matching: false",
		`"*.Shop.example"`:                                                  `"shop.*"`,
		"              - {match: {prefix: /}, route: {cluster: several}}\n": "",
		"prefix: /api, ":                                                    "prefix: /api, case_sensitive: false, ",
		"regex: GET|HEAD":                                                   "regex: G.*",
		"exact_match: b":                                                    "suffix_match: b",
		"present_match: false":                                              "present_match: false, invert_match: true",
		"https_redirect: true":                                              "https_redirect: true, strip_query: true",
		"path_redirect: /new":                                               `path_redirect: "/new?a"`,
		"5xx, reset":                                                        "5xx, retriable-headers",
		"num_retries: 3":                                                    "num_retries: 0",
		"prefix_rewrite: /v1":                                               "host_rewrite_literal: x",
		"default_source_code:":                                              "inline_code: x\n              default_source_code:",
		"service_name: s}":                                                  "service_name: s, authority: x}",
		"explicit_http_config: {http2_protocol_options: {}}":                "auto_config: {}",
		"no_traffic_interval: 3s":                                           "no_traffic_interval: 4s",
		"{address: {socket_address: {address: 10.0.0.2, port_value: 82}}, health_check_config: {hostname: \"10.0.0.2:82\"}}": "{address: {socket_address: {address: 10.0.0.2, port_value: 82}}}",
	} {
		changed := strings.Replace(text, from, to, 1)
		if changed == text {
			t.Errorf("there is no %q", from)
		} else if written := convert(changed); strings.Contains(written, "kind: Listener\nname: web\n") {
			t.Errorf("%q: it is a Listener:\n%s", to, written)
		}
	}
}
