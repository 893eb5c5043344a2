package pipeline

import (
	"slices"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// TestChecker checks that two listeners on one port compile, but conflict.
func TestChecker(t *testing.T) {
	check := checker(resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	listener := func(name, address string) *definition.Listener {
		return &definition.Listener{Name: name, Address: address, Routes: []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}}
	}
	web := listener("web", "0.0.0.0:80")
	if wrong := check(&module.Set{Listeners: []*definition.Listener{web, listener("api", "0.0.0.0:81")}}); len(wrong) > 0 {
		t.Errorf("at two ports: %q", wrong)
	}
	wrong := check(&module.Set{Listeners: []*definition.Listener{web, listener("api", "0.0.0.0:80")}})
	if want := []string{"the listeners web and api are both at 0.0.0.0:80"}; !slices.Equal(wrong, want) {
		t.Errorf("at one port: %q, want %q", wrong, want)
	}
}
