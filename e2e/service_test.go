package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestService: an Envoy starts with a Wasm service, whose module it gets from
// xds-server, and waits for that while xds-server is away. When the definition changes,
// the status says that it takes a restart, until the Envoy has started again with what
// bootstrap prints by then; traffic has no part in all this.
func TestService(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		usage := func(version string, singleton bool) {
			f.write("usage.yaml", fmt.Sprintf("kind: WasmFilter\nname: usage\nplace: service\nonFailure: closed\nsingleton: %t\nmodule: {url: %q}\n",
				singleton, f.module(wasmtest.Filter{Log: "usage " + version})))
		}
		usage("one", false)
		f.serve()
		print := func() []byte {
			var bootstrap []byte
			f.eventually(func() (err error) { // until the module is there
				bootstrap, err = f.server.Bootstrap(t.Context(), "edge-1", "--protocol", c.protocol, "--wasm-service", "usage",
					"--admin", "http://"+f.server.Addresses.Admin, "--modules-url", "http://"+f.server.Addresses.Modules)
				return err
			})
			return bootstrap
		}
		bootstrap := print()
		f.server.Kill()
		e := f.envoyOf("edge-1", harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap, LogLevel: "info"})
		f.eventually(func() error {
			if err := e.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "INITIALIZING") {
				return fmt.Errorf("without xds-server, the Envoy is ready, or has not begun: %v", err)
			}
			return nil
		})
		must(t, f.server.Start(f.ctx))
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		e.runs("usage")
		e.wrote("usage one")

		usage("two", true)
		at := e.state("usage", "waiting")
		if !strings.Contains(at.Reason, "takes a restart: this Envoy started with "+at.Running) || at.Running == "" {
			t.Errorf("the status says %q of %+v", at.Reason, at)
		}
		f.seen(l, f.hello("2"), "x-hello", "2")
		t.Log(f.good(l))

		must(t, os.WriteFile(filepath.Join(f.dir, "edge-1", "bootstrap.yaml"), print(), 0o644))
		e.Kill()
		must(t, e.Start(f.ctx))
		l = e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "2")
		e.runs("usage")
		e.wrote("usage two")

		must(t, os.Remove(filepath.Join(f.definitions, "usage.yaml")))
		if at := e.state("usage", "waiting"); !strings.Contains(at.Reason, "no such service") {
			t.Errorf("of a service that is gone the status says %q", at.Reason)
		}
		t.Log(f.good(l))
	})
}

// wrote waits until the Envoy has written a text into its log.
func (e *edge) wrote(text string) {
	e.f.t.Helper()
	e.f.eventually(func() error {
		b, err := os.ReadFile(e.Log())
		if err == nil && !strings.Contains(string(b), text) {
			err = fmt.Errorf("the log of Envoy %s has no %q", e.id, text)
		}
		return err
	})
}
