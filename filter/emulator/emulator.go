// Package emulator runs the tests of a filter twice: natively, and as the
// module that a proxy would load.
//
// Start with [Run]. Both ways the filter meets the emulator of a proxy that
// comes with the SDK (proxywasm/proxytest).
package emulator

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/proxytest"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)

// Start begins a filter's life under a configuration. It says whether the
// filter took the configuration. The SDK keeps its state in variables, so that
// a test has one filter at a time: a second start waits until the (sub)test of
// the first one ends.
type Start func(t *testing.T, config string) (proxytest.HostEmulator, types.OnPluginStartStatus)

// Run calls test twice: with filters that vm makes, and with the filter that
// the stock Go toolchain compiles from the package in the test's folder. That
// one is loaded only once, as it takes a second: each start is a new plugin in
// the same VM, as a proxy has it for filters of one module.
func Run(t *testing.T, vm func() types.VMContext, test func(t *testing.T, start Start)) {
	t.Run("native", func(t *testing.T) {
		test(t, func(t *testing.T, config string) (proxytest.HostEmulator, types.OnPluginStartStatus) {
			return start(t, vm(), config)
		})
	})
	t.Run("wasm", func(t *testing.T) {
		vm, err := proxytest.NewWasmVMContext(build(t))
		if err != nil {
			t.Fatalf("loading the module: %v", err)
		}
		t.Cleanup(func() {
			if err := vm.Close(); err != nil {
				t.Errorf("closing the module: %v", err)
			}
		})
		test(t, func(t *testing.T, config string) (proxytest.HostEmulator, types.OnPluginStartStatus) {
			return start(t, vm, config)
		})
	})
}

// Native is Start for the filter that is given, without compiling it.
func Native(t *testing.T, vm types.VMContext, config string) (proxytest.HostEmulator, types.OnPluginStartStatus) {
	return start(t, vm, config)
}

func start(t *testing.T, vm types.VMContext, config string) (proxytest.HostEmulator, types.OnPluginStartStatus) {
	options := proxytest.NewEmulatorOption().WithVMContext(vm).WithPluginConfiguration([]byte(config))
	host, reset := proxytest.NewHostEmulator(options)
	t.Cleanup(reset)
	if host.StartVM() != types.OnVMStartStatusOK {
		t.Fatal("the VM doesn't start")
	}
	return host, host.StartPlugin()
}

// build compiles the package in the current folder, in the way that the
// Makefile does.
func build(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "filter.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, ".")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
	module, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	module, err = startable(module)
	if err != nil {
		t.Fatalf("renaming _initialize to _start: %v", err)
	}
	return module
}
