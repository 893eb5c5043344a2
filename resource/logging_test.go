package resource

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmloggerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// TestAccessLogger checks that an access logger is in its listeners and in the
// primer, in no slot, and that a listener's version includes those of its
// loggers.
func TestAccessLogger(t *testing.T) {
	logger := wasm("audit", shaA, "x")
	logger.Definition.OnFailure, logger.Definition.Place.At = definition.Open, definition.Logger
	set := &module.Set{
		Filters:   []*module.Filter{logger, wasm("auth", shaB, "x")},
		Listeners: []*definition.Listener{web("web", "127.0.0.1:8080")},
	}
	s := mustCompile(t, nil, set).Snapshot(definition.Node{ID: "edge"}, "")
	l := s.Listeners[0]
	if len(l.Loggers) != 1 || len(l.Filters) != 1 || l.Filters[0] != "auth" {
		t.Errorf("its access loggers are %q, its filters %q", l.Loggers, l.Filters)
	}
	f := s.Filter("audit")
	if got := f.LoggerIn(l.Version); got != f.Version {
		t.Errorf("version %q of the listener has %q of the logger, want %q", l.Version, got, f.Version)
	}
	if layout := l.In(l.Version); layout == nil || layout.Version != l.Version {
		t.Errorf("the listener does not know its own version %s", l.Version)
	}
	plain := l.Logging(nil)
	if got := f.LoggerIn(plain.Version); got != "" || plain.In(l.Version) != nil || l.In(plain.Version) != nil {
		t.Errorf("version %q, without loggers, is taken for %q", plain.Version, l.Version)
	}
	if l.Logging([]*Filter{f}) != l || plain.Logging([]*Filter{f}) != l {
		t.Error("the same listener is made twice")
	}
	for _, c := range s.Contents() {
		if c.Filter == "audit" {
			t.Errorf("slot %s holds an access logger", c.Name)
		}
	}
	loggers := wasmLoggers(t, l.Resource)
	if len(loggers) != 1 || loggers[0].GetName() != "audit" || loggers[0].GetFailurePolicy() != pluginv3.FailurePolicy_FAIL_RELOAD || !loggers[0].GetVmConfig().NackOnCodeCacheMiss {
		t.Errorf("the listener has the access loggers %v", loggers)
	}
	if n := len(wasmLoggers(t, plain.Resource)); n != 0 {
		t.Errorf("without loggers it has %d", n)
	}
}

// FuzzLoggerIn tries any version that an Envoy may report.
func FuzzLoggerIn(f *testing.F) {
	f.Add("a1b2c3d4e5f60718*1122334455667788-09f29cd2+2-4")
	f.Add("**-+*")
	f.Fuzz(func(t *testing.T, version string) {
		of := &Filter{ID: "09f29cd2"}
		if in := of.LoggerIn(version); in != "" && !strings.Contains(version, "*"+in+"-09f29cd2") {
			t.Errorf("%q is not in %q", in, version)
		}
	})
}

func wasmLoggers(t *testing.T, r *Resource) []*pluginv3.PluginConfig {
	t.Helper()
	var l listenerv3.Listener
	var hcm hcmv3.HttpConnectionManager
	if err := proto.Unmarshal(r.Value, &l); err != nil {
		t.Fatal(err)
	}
	if err := l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig().UnmarshalTo(&hcm); err != nil {
		t.Fatal(err)
	}
	var found []*pluginv3.PluginConfig
	for _, log := range hcm.GetAccessLog() {
		var w wasmloggerv3.WasmAccessLog
		if log.GetTypedConfig().UnmarshalTo(&w) == nil {
			found = append(found, w.GetConfig())
		}
	}
	return found
}
