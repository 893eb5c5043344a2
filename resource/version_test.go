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

// TestFilterVersion changes each field of a filter separately: its version
// changes if and only if the field affects what Envoy runs.
func TestFilterVersion(t *testing.T) {
	elsewhere := map[string]bool{
		"Name": true,                              // versions are compared under one name
		"Kind": true, "Pos": true, "Verify": true, // not sent
		"VariantOf": true,                               // part of the listeners' versions as well
		"Attach":    true, "Place": true, "Order": true, // part of the listeners' versions
		"ConfigSecret": true, // where Config comes from
		"Module":       true, // represented by the module's hash; see below
	}
	values := map[string]any{
		"Config": &anypb.Any{Value: []byte("x")}, "VMConfig": &anypb.Any{Value: []byte("x")},
		"Wasm":      &wasmv3.Wasm{Config: &pluginv3.PluginConfig{Name: "x"}},
		"OnFailure": definition.Open, "Allow": []string{}, "AllowComputed": true, "HostEnv": []string{"X"}, "Env": map[string]string{"X": "y"},
		"RootID": "x", "VMID": "x", "Singleton": true, "Lua": &definition.Lua{Script: "x = 1"},
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

// TestListenerVersion does the same for a listener: routes affect their own
// version, and never that of the listener, which would be replaced.
func TestListenerVersion(t *testing.T) {
	listener := func() *definition.Listener {
		return &definition.Listener{Name: "web", Address: "127.0.0.1:80", Routes: []definition.Route{{
			Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}}
	}
	listens := func(d *definition.Listener) string { return listenerMeaning(d).version() }
	routes := func(d *definition.Listener) string { return routesMeaning(d).version() }
	for name, test := range map[string]struct {
		change          func(*definition.Listener)
		changes, leaves func(*definition.Listener) string
	}{
		"address":   {func(l *definition.Listener) { l.Address = "127.0.0.1:81" }, listens, routes},
		"direction": {func(l *definition.Listener) { l.Direction = definition.Inbound }, listens, routes},
		"route":     {func(l *definition.Listener) { l.Routes = append(l.Routes, l.Routes[0]) }, routes, listens},
		"no route":  {func(l *definition.Listener) { l.Routes = nil }, routes, listens},
		"prefix":    {func(l *definition.Listener) { l.Routes[0].Prefix = "/a" }, routes, listens},
		"timeout":   {func(l *definition.Listener) { l.Routes[0].Timeout = "1s" }, routes, listens},
		"upstream":  {func(l *definition.Listener) { l.Routes[0].Upstreams[0].Address = "127.0.0.1:2" }, routes, listens},
		"another upstream": {func(l *definition.Listener) {
			l.Routes[0].Upstreams = append(l.Routes[0].Upstreams, l.Routes[0].Upstreams[0])
		}, routes, listens},
		"weight":         {func(l *definition.Listener) { l.Routes[0].Upstreams[0].Weight = 2 }, routes, listens},
		"tls":            {func(l *definition.Listener) { l.Routes[0].Upstreams[0].TLS = true }, routes, listens},
		"downstream tls": {func(l *definition.Listener) { l.TLS = &definition.TLS{Cert: "a"} }, listens, routes},
		"access log":     {func(l *definition.Listener) { l.AccessLog = definition.LogJSON }, listens, routes},
		"hosts":          {func(l *definition.Listener) { l.Routes[0].Hosts = []string{"a"} }, routes, listens},
		"path":           {func(l *definition.Listener) { l.Routes[0].Path = "/a" }, routes, listens},
		"regex":          {func(l *definition.Listener) { l.Routes[0].Regex = "/a" }, routes, listens},
		"methods":        {func(l *definition.Listener) { l.Routes[0].Methods = []string{"GET"} }, routes, listens},
		"header": {func(l *definition.Listener) {
			l.Routes[0].Headers = []definition.HeaderMatch{{Name: "a", Is: definition.HeaderAbsent}}
		}, routes, listens},
		"redirect": {func(l *definition.Listener) { l.Routes[0].Redirect = &definition.Redirect{} }, routes, listens},
		"rewrite":  {func(l *definition.Listener) { l.Routes[0].Rewrite = "/a" }, routes, listens},
		"retries":  {func(l *definition.Listener) { l.Routes[0].Retries = &definition.Retries{Attempts: 1} }, routes, listens},
		"endpoints": {func(l *definition.Listener) {
			l.Routes[0].Upstreams[0].Endpoints = []string{"127.0.0.1:1", "127.0.0.1:2"}
		}, routes, listens},
		"protocol":    {func(l *definition.Listener) { l.Routes[0].Upstreams[0].Protocol = definition.HTTP2 }, routes, listens},
		"server name": {func(l *definition.Listener) { l.Routes[0].Upstreams[0].ServerName = "a" }, routes, listens},
		"health check": {func(l *definition.Listener) {
			l.Routes[0].Upstreams[0].HealthCheck = &definition.HealthCheck{By: definition.CheckTCP}
		}, routes, listens},
		// A route's name and filters only affect the version of the routes with
		// their mentions; see TestTreated.
	} {
		l := listener()
		test.change(l)
		if test.changes(l) == test.changes(listener()) {
			t.Errorf("%s changes, and the version does not", name)
		}
		if test.leaves(l) != test.leaves(listener()) {
			t.Errorf("%s changes a version that it has nothing to do with", name)
		}
	}
	tcp := func(d *definition.Listener) string { return tcpListenerMeaning(d).version() }
	passesOn := func() *definition.Listener {
		return &definition.Listener{Name: "db", Address: "127.0.0.1:80", TCP: &definition.TCP{Upstreams: []definition.Upstream{{Address: "127.0.0.1:1", Weight: 1}}}}
	}
	for name, change := range map[string]func(*definition.Listener){
		"address":          func(l *definition.Listener) { l.Address = "127.0.0.1:81" },
		"direction":        func(l *definition.Listener) { l.Direction = definition.Inbound },
		"upstream":         func(l *definition.Listener) { l.TCP.Upstreams[0].Address = "127.0.0.1:2" },
		"another upstream": func(l *definition.Listener) { l.TCP.Upstreams = append(l.TCP.Upstreams, l.TCP.Upstreams[0]) },
		"weight":           func(l *definition.Listener) { l.TCP.Upstreams[0].Weight = 2 },
		"tls":              func(l *definition.Listener) { l.TCP.Upstreams[0].TLS = true },
	} {
		l := passesOn()
		if change(l); tcp(l) == tcp(passesOn()) {
			t.Errorf("%s of a TCP listener changes, and the version does not", name)
		}
	}
	for _, s := range []struct {
		of   reflect.Type
		know int
	}{
		{reflect.TypeFor[definition.Listener](), 9}, {reflect.TypeFor[definition.TCP](), 1}, {reflect.TypeFor[definition.Route](), 13}, {reflect.TypeFor[definition.Upstream](), 7},
		{reflect.TypeFor[definition.HeaderMatch](), 3}, {reflect.TypeFor[definition.Redirect](), 6}, {reflect.TypeFor[definition.Retries](), 3},
		{reflect.TypeFor[definition.HealthCheck](), 6},
	} {
		if s.of.NumField() != s.know {
			t.Errorf("%s has %d fields: is the new one part of the version?", s.of, s.of.NumField())
		}
	}
}
