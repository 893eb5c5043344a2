package definition_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"wasmxds/definition/internal/document"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
)

// TestSchema checks, or with -update writes, the schema for editors.
func TestSchema(t *testing.T) {
	schema, err := definition.Schema()
	if err != nil {
		t.Fatal(err)
	}
	definitiontest.Golden(t, filepath.Join("..", "docs", "schema.json"), schema)
}

// TestSchemaAgrees checks that the schema accepts what Parse accepts, and
// rejects what Parse rejects for its form.
func TestSchemaAgrees(t *testing.T) {
	written, err := definition.Schema()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := jsonschema.UnmarshalJSON(bytes.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", loaded); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, n *document.Node) error {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(n.JSON()))
		if err != nil {
			t.Fatal(err)
		}
		return schema.Validate(value)
	}
	for _, name := range []string{"testdata/good/native.yaml", "testdata/good/routes.yaml", "testdata/good/raw.yaml", "testdata/good/rollout.yaml", "testdata/good/rollout.json", "testdata/good/filtertest.yaml", "testdata/good/direct.json"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		read := document.YAML
		if filepath.Ext(name) == ".json" {
			read = document.JSON
		}
		docs, problems := read(data)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		for _, n := range docs {
			if err := check(t, n); err != nil {
				t.Errorf("%s:%d: %v", name, n.Line, err)
			}
		}
	}
	for _, bad := range []string{
		"{kind: WasmFilter, name: a}",
		"{kind: WasmFilter, name: a, module: {url: a, sha256: abc}}",
		"{kind: WasmFilter, name: a, module: {url: a}, order: first}",
		"{kind: WasmFilter, name: a, module: {url: a}, onFailure: shut}",
		"{kind: WasmFilter, name: a, module: {url: a}, env: {A: 1}}",
		"{kind: WasmFilter, name: a, module: {url: a}, allow: []}",
		"{kind: WasmFilter, name: a, module: {url: a}, attach: {nodes: {label: {}}}}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: []}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: a, upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', direction: any, routes: [{prefix: /, upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', accessLog: stdout, routes: [{prefix: /, upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{path: a, upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: /, methods: [], upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: /, redirect: {scheme: ftp}}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: /, retries: {on: []}, upstream: 'a:1'}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: /, upstreams: [{address: 'a:1', protocol: grpc}]}]}",
		"{kind: Listener, name: a, address: '0.0.0.0:80', routes: [{prefix: /, upstreams: [{address: 'a:1', healthCheck: {healthy: 0}}]}]}",
		"{kind: Rollout, name: a}",
		"{kind: Rollout, name: a, waves: []}",
		"{kind: Rollout, name: a, waves: [0]}",
		"{kind: Rollout, name: a, waves: [half]}",
		"{kind: Rollout, name: a, waves: [{labels: {}}]}",
		"{kind: Rollout, name: a, waves: [{tier: canary}]}",
		"{kind: Rollout, name: a, waves: [1], match: {definitions: []}}",
		"{kind: Rollout, name: a, waves: [1], stop: {refused: 0}}",
		"{kind: Rollout, name: a, waves: [1], stop: {errors: {more: 0.01}}}",
		"{kind: Rollout, name: a, waves: [1], stop: {latency: {p: 100}}}",
		"{kind: Rollout, name: a, waves: [1], stop: {noTraffic: never}}",
		"{kind: Rollout, name: a, waves: [1], then: undo}",
		"{kind: Rollout, name: a, waves: [1], ask: [{prometheus: {url: 'http://p', query: up, max: lots}}]}",
		"{kind: Rollout, name: a, waves: [1], ask: [{webhook: {}}]}",
		"{kind: FilterTest, filter: a}",
		"{kind: FilterTest, filter: a, cases: []}",
		"{kind: FilterTest, cases: [{name: a}]}",
		"{kind: FilterTest, filter: a, cases: [{request: {}}]}",
		"{kind: FilterTest, filter: a, cases: [{name: a, request: {headers: {b: 1}}}]}",
		"{kind: FilterTest, filter: a, cases: [{name: a, request: {body: {text: b}}}]}",
		"{kind: FilterTest, filter: a, cases: [{name: a, expect: {request: {headers: {b: {has: c}}}}}]}",
		"{kind: FilterTest, filter: a, cases: [{name: a, expect: {localReply: {status: 1000}}}]}",
		"{kind: FilterTest, filter: a, cases: [{name: a, expect: {calls: [{path: /}]}}]}",
		"{kind: Other}",
		"{'@type': type.googleapis.com/envoy.config.bootstrap.v3.Bootstrap, kind: Other}",
		"[]",
	} {
		if file, _ := parser.Parse("bad.yaml", []byte(bad)); file != nil {
			t.Errorf("Parse takes %s", bad)
		}
		docs, _ := document.YAML([]byte(bad))
		if check(t, docs[0]) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}
