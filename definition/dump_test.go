package definition_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/internal/definitiontest"
	"wasmxds/definition/kinds"
)

// dumps returns a parser that also reads config_dumps.
func dumps() definition.Parser {
	p := kinds.Parser()
	p.Dumps = true
	return p
}

// FuzzDump is like FuzzParseJSON, for config_dumps.
func FuzzDump(f *testing.F) { definitiontest.Fuzz(f, dumps(), ".json", "dump/*.json") }

// TestConvertDump checks that the definitions behind an Envoy of a mesh are
// written, as far as it prints them, and can be read again.
func TestConvertDump(t *testing.T) {
	const name = "testdata/dump/mesh.json"
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	file, problems := dumps().Parse(name, data)
	if file == nil {
		t.Fatal(definitiontest.Told(problems))
	}
	const without = name + `:81: configs[1].dynamic_active_clusters[1].cluster.eds_cluster_config: there are no endpoints "outbound|9090||stock.shop.svc.cluster.local"`
	if len(problems) != 1 || !problems[0].Warning || problems[0].Error() != without || !strings.Contains(problems[0].Hint, "include_eds") {
		t.Errorf("problems: %s", definitiontest.Told(problems))
	}
	written, err := definition.Convert(file)
	if err != nil {
		t.Fatal(err)
	}
	definitiontest.Golden(t, name+".converted", written)
	again, problems := kinds.Parser().Parse("again.yaml", written)
	if again == nil || len(again.Resources) != len(file.Resources) || len(again.Filters) != len(file.Filters) {
		t.Fatal(definitiontest.Told(problems))
	}
}

// TestDump checks how the parts of a config_dump are converted.
func TestDump(t *testing.T) {
	cluster := func(name string) string {
		return fmt.Sprintf(`{"cluster": {"@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster", "name": %q}}`, name)
	}
	part := func(of, list string, items ...string) string {
		return fmt.Sprintf(`{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.%s", %q: [`+"\n%s\n]}]}", of, list, strings.Join(items, ",\n"))
	}
	secret := func(name, key string) string {
		return fmt.Sprintf(`{"secret": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": %q, "tls_certificate": {"private_key": %s}}}`, name, key)
	}
	filter := func(name, remote string) string {
		return fmt.Sprintf(`{"ecds_filter": {"@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", "name": %q, "typed_config": {
  "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
  "config": {"vm_config": {"code": {"remote": {"http_uri": {"uri": "http://a/b.wasm", "cluster": %q}, "sha256": %q}}}}}}}`, name, remote, strings.Repeat("0", 64))
	}
	listener := func(name, more string) string {
		return fmt.Sprintf(`{"active_state": {"listener": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": %q, "address": {"pipe": {"path": "/x"}}%s}}}`, name, more)
	}
	manager := func(name, fields string) string {
		return listener(name, fmt.Sprintf(`, "filter_chains": [{"filters": [{"name": "hcm", "typed_config": {
  "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "x", %s}}]}]`, fields))
	}
	for name, test := range map[string]struct {
		dump string
		has  string // names of what is converted
		left string // in the comment
		bad  string // the problem
	}{
		"clusters": {dump: part("ClustersConfigDump", "static_clusters", cluster("a"), cluster("wasmxds"), cluster("wasmxds-modules")), has: "a",
			left: "# - cluster wasmxds and 1 more, line 3: xds-server makes it."},
		"one resource":   {dump: `{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster", ` + cluster("a")[1:] + `]}`, has: "a"},
		"twice":          {dump: part("ClustersConfigDump", "static_clusters", cluster("a"), cluster("a")), has: "a"},
		"primer":         {dump: part("ListenersConfigDump", "dynamic_listeners", listener("primer", ""), listener("web", "")), has: "web", left: "# - listener primer, line 2: xds-server makes it."},
		"native":         {dump: part("ListenersConfigDump", "dynamic_listeners", manager("web", `"rds": {"route_config_name": "routes/web/1", "config_source": {"ads": {}}}`)), left: "# - listener web, line 2: xds-server makes it."},
		"not connected":  {dump: part("ListenersConfigDump", "dynamic_listeners", `{"name": "web"}`)},
		"filters":        {dump: part("EcdsConfigDump", "ecds_filters", filter("a", "origin"), filter("primer/a", "x"), filter("b", "wasmxds-modules")), has: "a", left: "# - filter primer/a and 1 more, line 5: xds-server makes it."},
		"not known":      {dump: part("NewConfigDump", "things", "{}"), left: "# - NewConfigDump, line 1: there is nothing in it that a server gives."},
		"secret":         {dump: part("SecretsConfigDump", "static_secrets", secret("a", `{"filename": "a.key"}`), secret("wasmxds-tls/web", `{"filename": "[redacted]"}`)), has: "a", left: "# - secret wasmxds-tls/web, line 3: xds-server makes it."},
		"secret file":    {dump: part("SecretsConfigDump", "static_secrets", secret("a", `{"filename": "[redacted]"}`), secret("b", `{"filename": "b.key"}`)), has: "b", bad: "d.json:2: configs[0].static_secrets[0].secret.tls_certificate.private_key.filename: Envoy does not print what is secret"},
		"secret text":    {dump: part("SecretsConfigDump", "dynamic_active_secrets", secret("a", `{"inline_string": "[redacted]"}`)), bad: "d.json:2: configs[0].dynamic_active_secrets[0].secret.tls_certificate.private_key.inline_string: Envoy does not print what is secret"},
		"secret bytes":   {dump: part("SecretsConfigDump", "static_secrets", secret("a", `{"inline_bytes": "W3JlZGFjdGVkXQ=="}`)), bad: "d.json:2: configs[0].static_secrets[0].secret.tls_certificate.private_key.inline_bytes: Envoy does not print what is secret"},
		"of another API": {dump: part("ClustersConfigDump", "static_clusters", cluster("a"), strings.Replace(cluster("b"), `"name"`, `"new": 1, "name"`, 1)), has: "a", bad: "d.json:3: configs[0].static_clusters[1].cluster.new: unknown field of Cluster"},
		"no type":        {dump: part("ClustersConfigDump", "static_clusters", `{"cluster": {"name": "a"}}`, cluster("b")), has: "b", bad: "d.json:2: configs[0].static_clusters[0].cluster: has no @type"},
	} {
		t.Run(name, func(t *testing.T) {
			file, problems := dumps().Parse("d.json", []byte(test.dump))
			if file == nil {
				t.Fatal(definitiontest.Told(problems))
			}
			var names, bad []string
			for _, f := range file.Filters {
				names = append(names, f.Name)
			}
			for _, r := range file.Resources {
				names = append(names, r.Name)
			}
			for _, p := range problems {
				if !p.Warning {
					bad = append(bad, p.Error())
				}
			}
			if got := strings.Join(names, " "); got != test.has {
				t.Errorf("has %q, want %q", got, test.has)
			}
			if got := strings.Join(bad, "\n"); got != test.bad {
				t.Errorf("problems:\n%s\nwant:\n%s", got, test.bad)
			}
			written, err := definition.Convert(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(written), test.left) {
				t.Errorf("%q is not in:\n%s", test.left, written)
			}
			if strings.Contains(string(written), "[redacted]") {
				t.Errorf("a placeholder for a secret is in:\n%s", written)
			}
		})
	}
}

// TestDumpIsNoDefinition checks that a config_dump among definitions is an
// error with a hint, affects nothing else, and withholds no listener.
func TestDumpIsNoDefinition(t *testing.T) {
	data, err := os.ReadFile("testdata/dump/mesh.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"definitions/config_dump.json", "definitions/dump.yaml"} {
		read := kinds.Parser().Read(name, data)
		if read.File != nil || len(read.Problems) != 1 || len(read.Holes) != 1 {
			t.Fatalf("%s: %v", name, read)
		}
		p := read.Problems[0]
		if want := name + ":2: configs: is what an Envoy runs (its config_dump), not a definition"; p.Error() != want || !strings.Contains(p.Hint, "xds-server convert "+name) {
			t.Errorf("%s: hint: %s", p, p.Hint)
		}
		if h := read.Holes[0]; len(h.Attach.Listeners) > 0 {
			t.Errorf("it withholds %v", h.Attach)
		}
	}
}
