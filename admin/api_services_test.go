package admin

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestService checks that a bootstrap gets the service in force, complete
// except for its code, or else an error with the reason.
func TestService(t *testing.T) {
	s := newServer(someFleet())
	if code, text := get(t, s.Handler(), "/api/v1/services/usage"); code != 503 {
		t.Errorf("before the definitions are loaded: %d %s", code, text)
	}
	named := func(name string, place definition.At, state module.State) *module.Filter {
		f := someFilter("b2")
		d := *f.Definition
		d.Name, d.Place.At, d.Singleton, d.OnFailure = name, place, true, definition.Closed
		f.Definition, f.State = &d, state
		return f
	}
	missing := named("missing", definition.Service, module.Failed)
	missing.Module, missing.Reason = module.Info{}, "connection refused"
	s.Loaded(Loaded{Set: &module.Set{Filters: []*module.Filter{named("usage", definition.Service, module.Good), named("http", definition.Last, module.Good), missing}}, Catalog: catalog{}})

	code, text := get(t, s.Handler(), "/api/v1/services/usage")
	var got Service
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != 200 {
		t.Fatalf("%d %v %s", code, err, text)
	}
	var config wasmv3.WasmService
	if err := protojson.Unmarshal(got.Config, &config); err != nil {
		t.Fatal(err)
	}
	vm := config.GetConfig().GetVmConfig()
	if got.Name != "usage" || got.Version == "" || got.SHA256 != sha || !got.Wait || !config.Singleton || config.GetConfig().GetRootId() != "b2" || vm.GetCode() != nil || vm.GetNackOnCodeCacheMiss() {
		t.Errorf("%+v with %v", got, &config)
	}
	_, status := get(t, s.Handler(), "/api/v1/status")
	if !strings.Contains(status, `"version": "`+got.Version) && !strings.Contains(status, `"version":"`+got.Version) {
		t.Errorf("the status does not have version %s: %s", got.Version, status)
	}
	for _, c := range []struct {
		name string
		code int
		text string
	}{
		{"http", 409, `"http" is a filter, no service: to make it one, write place: service`},
		{"missing", 409, `the module of service "missing" is not there: connection refused; try again`},
		{"other", 404, `there is no service "other": xds-server status lists`},
	} {
		if code, text := get(t, s.Handler(), "/api/v1/services/"+c.name); code != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s: %d %s", c.name, code, text)
		}
	}
}
