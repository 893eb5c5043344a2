package kubernetes_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the table of the chart's values anew")

// TestLint: Helm finds nothing wrong with the chart, with any of its example values.
func TestLint(t *testing.T) {
	values, err := filepath.Glob(filepath.Join(chart, "ci", "*-values.yaml"))
	if err != nil || len(values) < 3 {
		t.Fatalf("example values: %v, %v", values, err)
	}
	for _, file := range values {
		out := tool(t, "helm", "lint", "--strict", chart, "--values", file)
		if !strings.Contains(string(out), "1 chart(s) linted, 0 chart(s) failed") {
			t.Errorf("%s:\n%s", file, out)
		}
	}
}

// TestWrongValues: what can't be meant so is refused, and how to mend it said.
func TestWrongValues(t *testing.T) {
	for set, want := range map[string]string{
		"replica=3":        "'replica' not allowed",
		"replicas=3":       "set state to kubernetes",
		"state=etcd":       "state",
		"tls.secretName=a": "admin.tokenSecretName",
		"tls.rules[0].who[0]=a,tls.rules[0].ids=": "tls.secretName",
		"tls.rules[0].who[0]=a":                   "ids",
		"kinds={WasmFilters}":                     "kinds",
		"namespaces={Shop}":                       "namespaces",
		"persistence.size=big":                    "size",
		"extraArgs={verbose}":                     "extraArgs",
		"networkPolicy.envoys=none":               "envoys",
		"named[0].namespace=a":                    "named",
		"fullnameOverride=-":                      "fullnameOverride",
	} {
		if _, said, err := try(t, "helm", "template", "xds-server", chart, "--set", set); err == nil || !strings.Contains(said, want) {
			t.Errorf("--set %s: %v\n%s\nwant %q", set, err, said, want)
		}
	}
}

// schema is what is looked at of a JSON schema.
type schema struct {
	Description string
	Properties  map[string]schema
}

// described are the values of a schema that have a description, with their paths.
func (s schema) described(path string) map[string]string {
	if s.Description != "" {
		return map[string]string{path: s.Description}
	}
	all := map[string]string{}
	for name, of := range s.Properties {
		maps.Copy(all, of.described(strings.TrimPrefix(path+"."+name, ".")))
	}
	return all
}

// TestValues: each value is in the schema, in values.yaml, and in README's table.
func TestValues(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	delete(s.Properties, "global")
	described := s.described("")

	text, err = os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	table := "| value | unless set | what it is |\n| --- | --- | --- |\n"
	for _, path := range slices.Sorted(maps.Keys(described)) {
		is, ok := any(values), true
		for name := range strings.SplitSeq(path, ".") {
			of, _ := is.(map[string]any)
			if is, ok = of[name]; !ok {
				t.Errorf("values.yaml has no %s", path)
			}
		}
		shown, err := json.Marshal(is)
		if err != nil {
			t.Fatal(err)
		}
		table += fmt.Sprintf("| `%s` | `%s` | %s |\n", path, shown, described[path])
	}

	readme := filepath.Join(chart, "README.md")
	text, err = os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	const begin = "<!-- of values.schema.json and values.yaml; go test ./examples/kubernetes -update writes it -->\n"
	before, _, ok := strings.Cut(string(text), begin)
	if !ok {
		t.Fatalf("%s has no line %q", readme, begin)
	}
	should := before + begin + table
	if *update {
		if err := os.WriteFile(readme, []byte(should), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(should, string(text)); diff != "" {
		t.Errorf("-should +is; go test ./examples/kubernetes -update mends it:\n%s", diff)
	}
}

// TestNotes: what people are told after an installation fits what is installed.
func TestNotes(t *testing.T) {
	for values, want := range map[string][]string{
		"single":   {"http://127.0.0.1:19000", "--xds-address xds-server.wasmxds-system:18000\n", "For production set tls.secretName"},
		"replicas": {"https://127.0.0.1:19000", "--ca /certs/ca.crt"},
	} {
		out := string(tool(t, "helm", "install", "xds-server", chart, "--namespace", namespace, "--dry-run=client",
			"--values", filepath.Join(chart, "ci", values+"-values.yaml")))
		_, notes, ok := strings.Cut(out, "NOTES:\n")
		for _, w := range want {
			if !ok || !strings.Contains(notes, w) {
				t.Errorf("%s: not %q in\n%s", values, w, notes)
			}
		}
		if values == "replicas" && strings.Contains(notes, "For production") {
			t.Errorf("%s: told of what is done:\n%s", values, notes)
		}
	}
}
