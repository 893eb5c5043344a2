package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestWaitForWhatIsAskedFor: two Envoys with listeners of their own, each with
// a slot for one of two filters. Both run all that they ask for, so a
// deployment need not wait; a filter that one does ask for is waited for.
func TestWaitForWhatIsAskedFor(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		for _, name := range []string{"a", "b"} {
			f.write(name+".yaml", filter(name, f.module(wasmtest.Filter{Header: "x-" + name, Value: "0"}), "verify: abi"))
		}
		f.serve()
		for _, name := range []string{"a", "b"} {
			file := filepath.Join(f.dir, name+"-listeners.yaml")
			must(t, os.WriteFile(file, []byte(f.staticListener("web", name)+"---\n"+f.upstreamCluster()), 0o644))
			e := f.envoy(c, "edge-"+name, "--static-listeners", file, "--modules-url", "http://"+f.server.Addresses.Modules)
			e.firstAnswer("web", "x-"+name)
		}
		out := f.await("--timeout", "20s")
		for _, row := range []string{"edge-a a running", "edge-a b unasked", "edge-b a unasked", "edge-b b running"} {
			if !strings.Contains(strings.Join(strings.Fields(out), " "), row) {
				t.Errorf("no row %q in\n%s", row, out)
			}
		}

		f.write("b.yaml", filter("b", f.module(wasmtest.Filter{Header: "x-b", Value: "1", Fault: wasmtest.RejectConfigure}), "verify: abi"))
		f.eventually(func() error {
			_, err := f.server.Run(f.ctx, append(f.statusArgs(), "--wait", "--timeout", "1s")...)
			if err == nil || !strings.Contains(err.Error(), "filter b: 0 of 1 Envoy run it") {
				return fmt.Errorf("status --wait for what edge-b refuses: %w", err)
			}
			return nil
		})
	})
}

func (f *fleet) statusArgs() []string {
	return []string{"status", "--admin", "http://" + f.server.Addresses.Admin}
}

// await runs status --wait, which must come back, and returns what it prints.
func (f *fleet) await(args ...string) string {
	f.t.Helper()
	out, err := f.server.Run(f.ctx, append(append(f.statusArgs(), "--wait"), args...)...)
	must(f.t, err)
	return string(out)
}
