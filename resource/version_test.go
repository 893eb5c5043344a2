package resource

import (
	"reflect"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestFilterVersion changes each field of a filter by itself: its version
// changes where the field is part of what Envoy runs, and only there.
func TestFilterVersion(t *testing.T) {
	elsewhere := map[string]bool{
		"Name": true,                              // a version is compared under one name
		"Kind": true, "Pos": true, "Verify": true, // not sent
		"Attach": true, "Place": true, "Order": true, // told by the listeners
		"Module": true, // told by the module's hash; see below
	}
	values := map[string]any{
		"Config": &anypb.Any{Value: []byte("x")}, "VMConfig": &anypb.Any{Value: []byte("x")},
		"Wasm":      &wasmv3.Wasm{Config: &pluginv3.PluginConfig{Name: "x"}},
		"OnFailure": definition.Open, "Allow": []string{}, "HostEnv": []string{"X"}, "Env": map[string]string{"X": "y"},
		"RootID": "x", "VMID": "x",
	}
	version := func(d definition.Filter, sha256 string) string {
		return filterVersion(&module.Filter{Definition: &d, Module: module.Info{SHA256: sha256}})
	}
	before := version(definition.Filter{}, shaA)
	fields := reflect.TypeFor[definition.Filter]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		if elsewhere[name] {
			continue
		}
		value, ok := values[name]
		if !ok {
			t.Errorf("definition.Filter has a field %s: is it part of the version?", name)
			continue
		}
		var d definition.Filter
		reflect.ValueOf(&d).Elem().Field(i).Set(reflect.ValueOf(value))
		if version(d, shaA) == before {
			t.Errorf("%s changes, and the version does not", name)
		}
	}
	if version(definition.Filter{}, shaB) == before {
		t.Error("the module changes, and the version does not")
	}
	mirrored := version(definition.Filter{Module: definition.Module{URL: "http://a"}}, shaA)
	if mirrored != before {
		t.Error("the version of a mirrored module depends on its URL")
	}
	if version(definition.Filter{Module: definition.Module{URL: "http://a", Fetch: definition.Direct}}, shaA) == before {
		t.Error("the version of a module that Envoy fetches itself does not depend on its URL")
	}
}

// TestListenerVersion does the same with a listener.
func TestListenerVersion(t *testing.T) {
	listener := func() *definition.Listener {
		return &definition.Listener{Name: "web", Address: "127.0.0.1:80", Routes: []definition.Route{{
			Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}}
	}
	before := listenerMeaning(listener()).version()
	for name, change := range map[string]func(*definition.Listener){
		"address":   func(l *definition.Listener) { l.Address = "127.0.0.1:81" },
		"direction": func(l *definition.Listener) { l.Direction = definition.Inbound },
		"route":     func(l *definition.Listener) { l.Routes = append(l.Routes, l.Routes[0]) },
		"prefix":    func(l *definition.Listener) { l.Routes[0].Prefix = "/a" },
		"timeout":   func(l *definition.Listener) { l.Routes[0].Timeout = "1s" },
		"upstream":  func(l *definition.Listener) { l.Routes[0].Upstreams[0].Address = "127.0.0.1:2" },
		"weight":    func(l *definition.Listener) { l.Routes[0].Upstreams[0].Weight = 2 },
		"tls":       func(l *definition.Listener) { l.Routes[0].Upstreams[0].TLS = true },
	} {
		l := listener()
		change(l)
		if listenerMeaning(l).version() == before {
			t.Errorf("%s changes, and the version does not", name)
		}
	}
	for _, s := range []struct {
		of   reflect.Type
		know int
	}{{reflect.TypeFor[definition.Listener](), 6}, {reflect.TypeFor[definition.Route](), 3}, {reflect.TypeFor[definition.Upstream](), 3}} {
		if s.of.NumField() != s.know {
			t.Errorf("%s has %d fields: is the new one part of the version?", s.of, s.of.NumField())
		}
	}
}
