package definition_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
)

// TestManyInline checks that the cost of a file with thousands of Wasm filters
// in a listener is not quadratic.
func TestManyInline(t *testing.T) {
	filter := func(i int) string {
		return fmt.Sprintf(`{name: w, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm, config: {root_id: "%d", vm_config: {code: {local: {filename: a.wasm}}}}}}`, i)
	}
	listener := func(chains ...string) []byte {
		return []byte("{\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: edge, address: {pipe: {path: /x}}, filter_chains: [" + strings.Join(chains, ",\n") + "]}")
	}
	chain := func(filters string) string {
		return `{filters: [{name: hcm, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: x, route_config: {}, http_filters: [` + filters + `]}}]}`
	}
	var chains, filters []string
	for i := range 3000 {
		chains = append(chains, chain(filter(i)))
		filters = append(filters, filter(i))
	}
	start := time.Now()
	file, problems := definition.Parser{}.Parse("many.yaml", listener(chains...))
	if file == nil || len(file.Filters) != 3000 {
		t.Fatalf("%d problems, such as %v", len(problems), problems[0])
	}
	if name := file.Filters[2999].Name; name != "edge/w#3000" {
		t.Errorf("the last is called %s", name)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	file, problems = definition.Parser{}.Parse("many.yaml", listener(chain(strings.Join(filters, ",\n"))))
	if file != nil || !strings.Contains(problems[0].Error(), `many.yaml:17: filter_chains[0].filters[0].typed_config.http_filters[16].name: more than 16 different filters are called "w"`) {
		t.Errorf("problems: %v", problems[0])
	}
}
