package main

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/accesslog"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"

	"wasmxds/filter/emulator"
)

// knowing is a VM that keeps the context of its plugin, for which Envoy calls a logger.
type knowing struct {
	vm
	id uint32
}

func (k *knowing) NewPluginContext(id uint32) types.PluginContext {
	k.id = id
	return k.vm.NewPluginContext(id)
}

func TestLogs(t *testing.T) {
	k := &knowing{}
	host, status := emulator.Native(t, k, `{"prefix": "web", "over": "100ms"}`)
	if status != types.OnPluginStartStatusOK {
		t.Fatal(host.GetCriticalLogs())
	}
	set := func(name, of string, value []byte) {
		t.Helper()
		if err := host.SetProperty([]string{name, of}, value); err != nil {
			t.Fatal(err)
		}
	}
	number := func(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	for _, r := range []struct {
		path   string
		status int64
		took   time.Duration
	}{{"/quick", 200, 100 * time.Millisecond}, {"/slow?token=secret", 200, 101 * time.Millisecond}, {"/broken", 503, 0}, {"/missing", 404, 0}} {
		set("request", "method", []byte("GET"))
		set("request", "path", []byte(r.path))
		set("request", "duration", number(int64(r.took)))
		set("response", "code", number(r.status))
		if !accesslog.Log(k.id) {
			t.Fatal("it has registered nothing")
		}
	}
	want := []string{
		`slowlog: {"method":"GET","path":"/slow","status":200,"ms":101}`,
		`slowlog: {"method":"GET","path":"/broken","status":503,"ms":0}`,
	}
	if got := host.GetWarnLogs(); !slices.Equal(got, want) {
		t.Errorf("lines %q, want %q", got, want)
	}
	for name, want := range map[string]uint64{"web.requests": 4, "web.logged": 2} {
		if got, err := host.GetCounterMetric(name); err != nil || got != want {
			t.Errorf("%s: %d (%v), want %d", name, got, err, want)
		}
	}
	accesslog.Forget(k.id)
	if accesslog.Log(k.id) {
		t.Error("a plugin that has ended is told of requests")
	}
}

// TestNoProperties: a request that ended early has none.
func TestNoProperties(t *testing.T) {
	k := &knowing{}
	host, _ := emulator.Native(t, k, "")
	accesslog.Log(k.id)
	if n, err := host.GetCounterMetric("slowlog.requests"); err != nil || n != 1 || len(host.GetWarnLogs()) > 0 {
		t.Errorf("%d requests (%v), lines %q", n, err, host.GetWarnLogs())
	}
}

func TestConfiguration(t *testing.T) {
	emulator.Run(t, func() types.VMContext { return &vm{} }, func(t *testing.T, start emulator.Start) {
		for configuration, want := range map[string]types.OnPluginStartStatus{
			`{"over": "0s"}`:  types.OnPluginStartStatusOK,
			`{"prefix": ""}`:  types.OnPluginStartStatusFailed,
			`{"over": "1"}`:   types.OnPluginStartStatusFailed,
			`{"over": "-1s"}`: types.OnPluginStartStatusFailed,
			`{"under": "1s"}`: types.OnPluginStartStatusFailed,
		} {
			t.Run(configuration, func(t *testing.T) {
				if host, status := start(t, configuration); status != want {
					t.Errorf("status %v, want %v: %v", status, want, host.GetCriticalLogs())
				}
			})
		}
	})
}
