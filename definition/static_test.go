package definition_test

import (
	"strings"
	"testing"

	"wasmxds/definition"
)

func TestParseStatic(t *testing.T) {
	const web = "{name: web, address: {socket_address: {address: 127.0.0.1, port_value: 80}}}"
	for name, tc := range map[string]struct {
		file, data string
		want       string // names
		problems   []string
	}{
		"one":       {data: "name: web\naddress: {socket_address: {address: 127.0.0.1, port_value: 80}}\n", want: "web"},
		"list":      {data: "- " + web + "\n- " + strings.Replace(web, "web", "two", 1) + "\n", want: "web two"},
		"documents": {data: web + "\n---\n\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: web\n", want: "web web"},
		"JSON":      {file: "f.json", data: `[{"name": "web", "address": {"pipe": {"path": "/x"}}}]`, want: "web"},
		"nothing":   {data: "", problems: []string{"f.yaml: has no listener"}},
		"text":      {data: "web", problems: []string{"f.yaml:1: text, needs a listener or a cluster in Envoy's own form"}},
		"kind":      {data: "name: web\nkind: Listener\n", problems: []string{`f.yaml:2: kind: "Listener" does not go into a bootstrap, only Envoy's own listeners and clusters do`}},
		"type": {data: "- \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n  name: web\n",
			problems: []string{`f.yaml:1: @type: "type.googleapis.com/envoy.config.route.v3.RouteConfiguration" does not go into a bootstrap, only listeners and clusters do`}},
		"all at once": {data: "- name: web\n  adress: {}\n- name: two\n  address: {socket_address: {address: a, port_value: 70000}}\n- nome: x\n",
			problems: []string{"f.yaml:2: adress: unknown field of Listener", "f.yaml:4: address.socket_address.port_value: value must be less than or equal to 65535", "f.yaml:5: nome: unknown field of Listener"}},
		"Wasm": {data: "name: web\naddress: {pipe: {path: /x}}\nfilter_chains:\n- filters:\n  - name: wasm\n    typed_config:\n      \"@type\": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm\n",
			want: "web", problems: []string{"f.yaml:6: filter_chains[0].filters[0].typed_config: this Wasm network filter goes to Envoy as it is: its module is not fetched, tried or primed here, and a bad one harms traffic"}},
		"bootstrap": {data: "static_resources: {listeners: [" + web + "]}\n", want: "web"},
		"what is for servers": {data: "admin: {}\nstatic_resources:\n  listeners: [" + web + "]\n  secrets: [{name: s}]\n", problems: []string{"f.yaml:1: admin: belongs in an Envoy's bootstrap, and is ignored here",
			`f.yaml:4: static_resources.secrets[0].@type: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret" does not go into a bootstrap, only listeners and clusters do`}},
		"twice": {data: "- " + web + "\n- " + web + "\n", problems: []string{`f.yaml:2: name: "web" is already defined on line 1`}},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.file == "" {
				tc.file = "f.yaml"
			}
			rs, problems := definition.ParseStatic(tc.file, []byte(tc.data))
			var names []string
			for _, r := range rs {
				names = append(names, r.Name)
			}
			if got := strings.Join(names, " "); got != tc.want {
				t.Errorf("resources %q, want %q", got, tc.want)
			}
			if len(problems) != len(tc.problems) {
				t.Fatalf("problems %q, want %q", problems, tc.problems)
			}
			for i, p := range problems {
				if p.Error() != tc.problems[i] {
					t.Errorf("problem %q, want %q", p.Error(), tc.problems[i])
				}
			}
		})
	}
}
