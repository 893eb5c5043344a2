package stdgo_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// TestLoggerCallsOut: the answer to a call that an access logger makes reaches the plugin that
// made it, also when another plugin of the VM was called last.
func TestLoggerCallsOut(t *testing.T) {
	source := `package main
import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo/accesslog"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)
type vm struct{ types.DefaultVMContext }
func (*vm) NewPluginContext(id uint32) types.PluginContext {
	accesslog.Register(id, func() {
		_, err := proxywasm.DispatchHttpCall("collector", nil, nil, nil, 1000, func(int, int, int) { proxywasm.LogInfo("answered") })
		if err != nil {
			panic(err)
		}
	})
	return &types.DefaultPluginContext{}
}
func init() { proxywasm.SetVMContext(&vm{}) }
func main() {}
`
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	wasi_snapshot_preview1.MustInstantiate(t.Context(), r)
	compiled, err := r.CompileModule(t.Context(), build(t, file))
	if err != nil {
		t.Fatal(err)
	}
	logged := 0
	host := r.NewHostModuleBuilder("env")
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		if module != "env" {
			continue
		}
		host.NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
			if name == "proxy_log" {
				logged++
			}
			if len(f.ResultTypes()) > 0 {
				stack[0] = 0 // OK
			}
		}), f.ParamTypes(), f.ResultTypes()).Export(name)
	}
	if _, err := host.Instantiate(t.Context()); err != nil {
		t.Fatal(err)
	}
	module, err := r.InstantiateModule(t.Context(), compiled, wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	if err != nil {
		t.Fatal(err)
	}
	const first, second, callout = 1, 2, 0
	for _, call := range []struct {
		name string
		args []uint64
	}{
		{"proxy_on_context_create", []uint64{first, 0}},
		{"proxy_on_configure", []uint64{first, 0}},
		{"proxy_on_context_create", []uint64{second, 0}},
		{"proxy_on_configure", []uint64{second, 0}},
		{"proxy_on_log", []uint64{first}},
		{"proxy_on_http_call_response", []uint64{first, callout, 0, 0, 0}},
	} {
		if _, err := module.ExportedFunction(call.name).Call(t.Context(), call.args...); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
	}
	if logged != 1 {
		t.Errorf("%d answers, want 1", logged)
	}
}
