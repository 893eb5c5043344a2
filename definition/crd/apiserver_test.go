package crd_test

import (
	"context"
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wasmxds/definition"
	"wasmxds/definition/internal/document"
	"wasmxds/definition/kinds"
	"wasmxds/source/kube/kubetest"
)

// Mistakes that the API server must reject, by the documents around them.
var refused = map[string][]string{
	`{kind: WasmFilter, module: {url: "https://a/b"}, _}`: {
		`modul: {}`, `order: first`, `rootID: 7`, `onFailure: shut`, `onFailure: ""`, `allow: []`, `verify: never`, `place: under a`,
		`env: {A: 1}`, `env: {"A=B": c}`, `env: {"": c}`, `hostEnv: [""]`, `hostEnv: [A, B], env: {B: c}`,
		`attach: {direction: inbuond}`, `attach: {ports: [0]}`, `attach: {ports: [70000]}`, `attach: {nodes: {label: {}}}`,
		`attach: {nodes: {labels: {app: true}}}`, `attach: {match: [{ports: [0]}]}`, `attach: {match: [], direction: any}`,
		`configFrom: {}`, `configFrom: {secret: {name: a}}`, `configFrom: {secret: {name: a, key: b}, configMap: {name: a, key: b}}`, `configFrom: {file: a}`, `configFrom: {file: a, secret: {name: a, key: b}}`,
		`attach: {match: [], listeners: []}`, `attach: {match: [], ports: []}`, `attach: {match: [{nodes: {}}]}`,
	},
	`{kind: WasmFilter, module: {_}}`: {
		``, `url: ""`, `url: a.wasm`, `url: "ftp://a/b"`, `url: "https://"`, `url: "file://a.wasm"`, `url: "oci://"`,
		`url: "https://a/b", sha256: abc`, `url: "https://a/b", sha256: "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"`,
		`url: "https://a/b", fetch: sometimes`, `url: "https://a/b", fetch: direct`, `url: "https://a/b", pull: never`, `url: "https://a/b", pullSecret: x`,
		`url: "/opt/a.wasm", fetch: direct, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae`,
		`url: "https://a/b", fetch: direct, pull: always, sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae`,
	},
	`{kind: WasmFilter, _}`: {``, `module: a.wasm`},
	`{kind: FilterTest, _}`: {`filter: a`, `cases: [{name: a}]`, `filter: a, cases: []`, `filter: a, cases: [{}]`, `filter: a, cases: [{name: a}], of: b`},
	`{kind: FilterTest, filter: a, cases: [{name: a, _}]}`: {
		`request: {path: 7}`, `request: {header: {}}`, `response: {status: 99}`, `callouts: {a: {status: "200"}}`, `callouts: {a: {grpcStatus: 17}}`,
		`before: [{expect: {}}]`, `expect: {localReply: {status: 1000}}`, `expect: {continues: maybe}`, `expect: {metrics: {a: b}}`, `expect: {calls: [{}]}`, `expect: {logs: a}`,
	},
	`{kind: Listener, routes: [{prefix: /, upstream: "a:1"}], _}`: {
		`address: "0.0.0.0:80", accessLog: stdout`, `address: "0.0.0.0:80", tls: {}`, `address: "0.0.0.0:80", tls: {cert: a, key: b}`,
		`address: "0.0.0.0:80", tls: {secret: a, clientCA: b}`, `address: "0.0.0.0:80", tls: {secret: ""}`, `address: "0.0.0.0:80", tls: {secret: a/b}`, `address: "0.0.0.0:80", tls: {secret: a, secrets: b}`,
		``, `address: ""`, `address: ":8080"`, `address: "localhost:80"`, `address: "0.0.0.0"`, `address: "0.0.0.0:http"`, `address: "0.0.0.0:70000"`,
		`address: "0.0.0.0:80", direction: any`, `address: "0.0.0.0:80", nodes: []`,
	},
	`{kind: Listener, address: "0.0.0.0:80", _}`: {``, `routes: []`, `routes: {}`},
	`{kind: Listener, address: "0.0.0.0:80", routes: [{_}]}`: {
		`upstream: "a:1"`, `prefix: api, upstream: "a:1"`, `prefix: ""`, `prefix: /`, `prefix: /, upstreams: []`, `prefix: /, upstream: a`, `prefix: /, upstream: ":1"`,
		`prefix: /, upstream: "a:0"`, `prefix: /, upstream: "a:70000"`, `prefix: /, upstream: "a:1", upstreams: [{address: "a:1"}]`,
		`prefix: /, tls: true, upstreams: [{address: "a:1"}]`, `prefix: /, upstreams: [{}]`, `prefix: /, upstreams: [{address: "a:1", weight: 0}]`,
		`prefix: /, upstreams: [{address: "a:1", weight: 1000001}]`, `prefix: /, upstreams: [{address: a}]`,
		`path: /, prefix: /, upstream: "a:1"`, `regex: /a, prefix: /, upstream: "a:1"`, `path: a, upstream: "a:1"`, `path: "", upstream: "a:1"`,
		`prefix: /, hosts: [], upstream: "a:1"`, `prefix: /, hosts: ["a:80"], upstream: "a:1"`, `prefix: /, hosts: ["a.*"], upstream: "a:1"`, `prefix: /, hosts: [""], upstream: "a:1"`,
		`prefix: /, methods: [], upstream: "a:1"`, `prefix: /, methods: [get], upstream: "a:1"`,
		`prefix: /, headers: [{}], upstream: "a:1"`, `prefix: /, headers: [{name: a}], upstream: "a:1"`, `prefix: /, headers: [{name: ":path", exact: a}], upstream: "a:1"`,
		`prefix: /, headers: [{name: a, exact: b, present: true}], upstream: "a:1"`, `prefix: /, headers: [{name: a, contains: b}], upstream: "a:1"`,
		`prefix: /, rewrite: {}, upstream: "a:1"`, `prefix: /, rewrite: {prefix: a}, upstream: "a:1"`, `regex: /a, rewrite: {prefix: /}, upstream: "a:1"`,
		`prefix: /, redirect: {}`, `prefix: /, redirect: {code: 302}`, `prefix: /, redirect: {scheme: https, code: 304}`, `prefix: /, redirect: {scheme: ftp}`, `prefix: /, redirect: {host: "a b"}`,
		`prefix: /, redirect: {port: 0}`, `prefix: /, redirect: {path: /a, prefix: /b}`, `prefix: /, redirect: {path: a}`, `regex: /a, redirect: {prefix: /}`,
		`prefix: /, redirect: {scheme: https}, upstream: "a:1"`, `prefix: /, redirect: {scheme: https}, timeout: 1s`, `prefix: /, redirect: {scheme: https}, retries: {on: [5xx]}`,
		`prefix: /, upstream: "a:1", retries: {}`, `prefix: /, upstream: "a:1", retries: {on: []}`, `prefix: /, upstream: "a:1", retries: {on: [4xx]}`,
		`prefix: /, upstream: "a:1", retries: {on: [5xx], attempts: 0}`, `prefix: /, upstream: "a:1", retries: {on: [5xx], perTry: "5"}`,
		`prefix: /, upstreams: [{address: "a:1", endpoints: ["b:1"]}]`, `prefix: /, upstreams: [{endpoints: []}]`, `prefix: /, upstreams: [{endpoints: [a]}]`,
		`prefix: /, upstreams: [{address: "a:1", protocol: grpc}]`, `prefix: /, upstreams: [{address: "a:1", serverName: b}]`,
		`prefix: /, upstreams: [{address: "a:1", healthCheck: {path: a}}]`, `prefix: /, upstreams: [{address: "a:1", healthCheck: {path: /a, grpc: ""}}]`,
		`prefix: /, upstreams: [{address: "a:1", healthCheck: {unhealthy: 0}}]`, `prefix: /, upstreams: [{address: "a:1", healthCheck: {healthy: 101}}]`,
		`prefix: /, upstream: "a:1", filters: {a: on}`, `prefix: /, upstream: "a:1", filters: {a: true}`, `prefix: /, upstream: "a:1", filters: {a: 0}`, `prefix: /, upstream: "a:1", filters: {a: []}`,
		`prefix: /, upstream: "a:1", filters: {a: [off]}`, `prefix: /, upstream: "a:1", filters: {a: {}}`, `prefix: /, upstream: "a:1", filters: {a: {value: x}}`, `prefix: /, upstream: "a:1", filters: {a: {config: x, more: y}}`,
		`prefix: /, upstream: "a:1", filters: {a: {config: x, off: true}}`, `prefix: /, upstream: "a:1", filters: [a]`, `prefix: /, upstream: "a:1", filters: off`,
		`prefix: /, upstream: "a:1", timeout: 5`, `prefix: /, upstream: "a:1", timeout: "5"`, `prefix: /, upstream: "a:1", timeout: soon`, `prefix: /, upstream: "a:1", timeout: -1s`,
	},
	`{kind: Listener, address: "0.0.0.0:80", tcp: {_}}`: {
		``, `upstream: a`, `upstream: "a:0"`, `upstream: "a:1", upstreams: [{address: "a:1"}]`, `tls: true, upstreams: [{address: "a:1"}]`, `upstreams: []`,
		`upstreams: [{address: a}]`, `upstreams: [{address: "a:1", weight: 0}]`, `prefix: /, upstream: "a:1"`,
	},
	`{kind: Listener, address: "0.0.0.0:80", tcp: {upstream: "a:1"}, _}`: {`routes: [{prefix: /, upstream: "a:1"}]`},
	`{kind: Rollout, _}`: {``, `waves: []`, `waves: all`, `waves: 1`},
	`{kind: Rollout, waves: [1], _}`: {
		`wave: []`, `match: []`, `match: {definitions: []}`, `match: {definitions: [""]}`, `match: {definitions: [1]}`, `match: {}`, `bake: 120`, `bake: "120"`, `bake: -2m`, `bake: ""`,
		`stop: {refused: 0}`, `stop: {crashes: 1.5}`, `stop: {restarts: -1}`, `stop: {errors: {more: 0.01}}`, `stop: {errors: {more: x%}}`, `stop: {latency: {p: 100}}`,
		`stop: {latency: {p: 0}}`, `stop: {noTraffic: never}`, `then: undo`, `ask: [{}]`, `ask: [{webhook: {}}]`, `ask: [{webhook: {url: "ftp://h"}}]`,
		`ask: [{webhook: {url: h}}]`, `ask: [{prometheus: {url: "http://p", query: up}}]`, `ask: [{prometheus: {url: "http://p", query: up, max: lots}}]`,
		`ask: [{prometheus: {url: "http://p", query: " ", max: 1}}]`, `ask: [{prometheus: {url: "http://p", query: up, max: 1}, webhook: {url: "http://h"}}]`,
	},
	`{kind: Rollout, waves: [_]}`: {`0`, `-1`, `1.5`, `1000001`, `half`, `"5"`, `5 %`, `{tier: canary}`},
}

// Mistakes that only xds-server can detect.
var told = map[string][]string{
	`{kind: WasmFilter, module: {url: "https://a/b"}, _}`: {`config: {"@type": type.googleapis.com/nothing}`, `config: {}, configFrom: {secret: {name: a, key: b}}`, `attach: {nodes: {ids: ["a["]}}`},
	`{kind: Listener, address: "0.0.0.0:80", routes: [{_}]}`: {
		`regex: "(", upstream: "a:1"`, `prefix: /, hosts: [a, A], upstream: "a:1"`, `prefix: /, methods: [GET, GET], upstream: "a:1"`, `prefix: "/a?b", upstream: "a:1"`,
		`prefix: /, headers: [{name: a, exact: "b\n"}], upstream: "a:1"`, `prefix: /, upstreams: [{endpoints: ["a:1", "b:1"], tls: true}]`, `prefix: /, upstreams: [{endpoints: ["a:1", "a:1"]}]`,
		`prefix: /, upstreams: [{address: "a:1", tls: true, serverName: 127.0.0.1}]`, `prefix: /, upstreams: [{address: "a:1", healthCheck: {interval: 1ms}}]`,
		`prefix: /, upstreams: [{address: "a:1", healthCheck: {timeout: 2m}}]`, `prefix: /, upstream: "a:1", retries: {on: [5xx], perTry: 0s}`,
	},
	`{kind: Rollout, waves: [1], _}`: {`bake: 721h`, `stop: {errors: {more: 101%}}`, `match: {definitions: ["a["]}`, `ask: [{webhook: {url: "http://h/#x"}}]`},
	`{kind: Rollout, waves: [_]}`:    {`true`, `[1]`, `{labels: {}}`, `5, 3`, `101%`, `0%`, `{labels: {tier: "can*"}}`},
}

// What both must accept, in addition to testdata/good.
var taken = map[string][]string{
	`{kind: WasmFilter, module: {url: "https://a/b"}, _}`: {
		``, `config: {a: [1, {b: null}]}`, `config: text`, `config: [1]`, `config: 1.5`, `config: true`, `vmConfig: {}`, `configFrom: {secret: {name: a, key: b}}`, `configFrom: {configMap: {name: a, key: b}}`, `order: -5`, `place: before a b`, `place: network`, `place: network authz`, `place: network after a`, `attach: {listeners: []}`,
		`attach: {match: [{direction: inbound, ports: [80]}, {listeners: [a]}], nodes: {ids: ["a*"], clusters: [b], labels: {c: d}}}`,
		`env: {A: b}, hostEnv: [C], allow: [proxy_log], verify: abi, onFailure: reload, rootID: a, vmID: b`,
	},
	`{kind: WasmFilter, module: {_}}`: {
		`url: /opt/a.wasm`, `url: "file:///opt/a.wasm"`, `url: "oci://a/b:c", pullSecret: x, pull: always`, `url: "http://a"`, `url: "oci://filters"`,
		`url: "https://a/b", fetch: direct, sha256: 2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE`, `url: "https://a/b", fetch: mirror, pull: ifNotPresent`,
	},
	`{kind: Listener, routes: [{prefix: /, upstream: "a:1"}], _}`: {
		`address: "0.0.0.0:443", tls: {secret: web-tls, clientSecret: ca}`, `address: "[::]:80"`, `address: "127.0.0.1:0"`, `address: "[fe80::1%eth0]:65535", direction: outbound, nodes: {labels: {a: b}}`,
	},
	`{kind: Listener, address: "0.0.0.0:80", routes: [{_}]}`: {
		`prefix: /a, upstream: "[::1]:65535", tls: true, timeout: 1h2m3.5s`, `prefix: /, upstreams: [{address: "a.b.c:1", weight: 3, tls: true}, {address: "b:2"}], timeout: 0s`,
		`path: /a, hosts: [a.b, "*.C", "*", "[::1]"], methods: [GET], headers: [{name: a, present: false}, {name: B, exact: c}, {name: d, prefix: e}, {name: f, regex: "g+"}], upstream: "a:1"`,
		`regex: "/a+", redirect: {scheme: https, host: A.b, port: 8443, code: 307}`, `prefix: /a, redirect: {prefix: /b}`, `prefix: /, redirect: {path: /b}`,
		`prefix: /a, rewrite: {prefix: /b}, retries: {on: [5xx, reset], attempts: 3, perTry: 1s}, upstream: "a:1"`,
		`prefix: /, upstreams: [{endpoints: ["a:1", "b:2"], protocol: http2, tls: true, serverName: c, healthCheck: {grpc: "", interval: 1m, timeout: 2s, unhealthy: 1, healthy: 1}}]`,
		`prefix: /, upstreams: [{address: "a:1", protocol: http1, healthCheck: {path: /healthz}}]`, `prefix: /, upstreams: [{address: "a:1", healthCheck: {}}]`,
		`prefix: /, upstream: "a:1", filters: {a: "off", b: false, c: {config: {d: [1]}}, e: {config: off}}`, `prefix: /, upstream: "a:1", filters: {}`,
		`prefix: /, upstream: "a:1", timeout: "0"`, `prefix: /, upstream: "a:1", timeout: .5s`,
	},
	`{kind: Listener, address: "0.0.0.0:80", tcp: {_}}`: {`upstream: "a:1", tls: true`, `upstreams: [{address: "a:1", weight: 3, tls: true}, {address: "b:2"}]`},
	`{kind: Rollout, waves: [_]}`:                       {`1, 5%, 25%, 100%`, `{labels: {tier: canary}}, 0.5%`, `1000000`},
	`{kind: Rollout, waves: [1], _}`: {
		`bake: 0s, then: pause`, `stop: {refused: 1, errors: {more: 1%, confidence: 99.9%}, latency: {p: 99.5, more: 25%}, noTraffic: go on}`,
		`ask: [{prometheus: {url: "https://p:9090/x", query: up, max: -0.5}}, {webhook: {url: "https://h/x?y=z"}}]`,
	},
}

// TestAPIServer checks that a real API server with the CRDs accepts what
// xds-server accepts, and rejects what it should.
func TestAPIServer(t *testing.T) {
	s := kubetest.Start(t)
	s.Apply(kubetest.CRDs(t))
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: Rollout, metadata: {name: ready, namespace: default}, spec: {waves: [1]}}")
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: ready, namespace: default}, spec: {address: '0.0.0.0:80', routes: [{prefix: /, upstream: 'a:1'}]}}")
	s.Apply("{apiVersion: wasmxds.dev/v1alpha1, kind: WasmFilter, metadata: {name: ready, namespace: default}, spec: {module: {url: 'https://a/b'}}}")
	check := func(text string, parse, take bool) {
		t.Helper()
		n, problems := document.YAML([]byte(text))
		if len(problems) > 0 || len(n) != 1 {
			t.Fatalf("%s: %v", text, problems)
		}
		o := object(t, n[0])
		with := maps.Clone(o.Object)
		with["given"] = map[string]string{"value": "what configFrom names"}
		data, err := json.Marshal(with)
		if err != nil {
			t.Fatal(err)
		}
		parsed := kinds.Parser().ReadObject("it", definition.Scope{Namespace: "default"}, data)
		if (parsed.File != nil) != parse {
			t.Errorf("xds-server takes it: %v: %s: %v", !parse, text, parsed.Problems)
		}
		_, err = s.Of(o).Create(context.Background(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: "Strict"})
		if (err == nil) != take {
			t.Errorf("the API server takes it: %v: %s: %v", !take, text, err)
		}
	}
	each := func(cases map[string][]string, parse, take bool) {
		for around, mistakes := range cases {
			for _, m := range mistakes {
				check(replace(around, m), parse, take)
			}
		}
	}
	each(refused, false, false)
	each(told, false, true)
	each(taken, true, true)
	for _, name := range []string{"native.yaml", "routes.yaml", "rollout.yaml", "rollout.json", "place.yaml", "direct.json"} {
		for _, text := range examples(t, filepath.Join("..", "testdata", "good", name)) {
			check(text, true, true)
		}
	}
	for _, name := range []string{"native.yaml", "rollout.yaml"} {
		for i, text := range examples(t, filepath.Join("..", "testdata", "bad", name)) {
			t.Logf("%s, document %d", name, i)
			// Only xds-server can check that waves grow.
			check(text, false, strings.Contains(text, `"name":"shrinks"`))
		}
	}
}
