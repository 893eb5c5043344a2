package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestModuleRefused: a module that does not start never gets into the slot of
// the good one, whether xds-server's dry run finds that out or Envoy does.
func TestModuleRefused(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("good")
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "good")
		for name, bad := range map[string]struct {
			module          wasmtest.Filter
			dryRun, byEnvoy string // in the reason
		}{
			"trap in configure":    {wasmtest.Filter{Fault: wasmtest.TrapInConfigure, Log: "no config"}, "proxy_on_configure trapped", "Envoy rejects the module"},
			"false from configure": {wasmtest.Filter{Fault: wasmtest.RejectConfigure, Log: "no config"}, "no config", "Envoy rejects the module"},
			"trap in VM start":     {wasmtest.Filter{Fault: wasmtest.TrapInVMStart}, "proxy_on_vm_start trapped", "Envoy rejects the module"},
			"missing import":       {wasmtest.Filter{Import: "no_such_call"}, "no_such_call", "Envoy rejects the module"},
			"no ABI":               {wasmtest.Filter{Fault: wasmtest.NoABI}, "proxy_abi_version", "proxy_abi_version"},
		} {
			for verify, want := range map[string]string{"run": bad.dryRun, "abi": bad.byEnvoy} {
				bad.module.Header, bad.module.Value = "x-hello", "bad"
				f.write("hello.yaml", filter("hello", f.module(bad.module), "verify: "+verify))
				var reason string
				err := harness.Poll(t.Context(), patience, func() (err error) {
					reason, err = f.refused("edge-1", "hello")
					if err == nil && !strings.Contains(reason, want) {
						err = fmt.Errorf("the reason is %q", reason)
					}
					return err
				})
				t.Logf("%s, verify: %s: %q", name, verify, reason)
				if err != nil {
					t.Errorf("%s, verify: %s: want %q: %v", name, verify, want, err)
				}
				start := f.hello(name + verify)
				f.seen(l, start, "x-hello", name+verify)
				e.runs("hello")
			}
		}
		start := f.hello("mended")
		f.seen(l, start, "x-hello", "mended")
		e.runs("hello")
		f.good(l)
		if !l.LastSeen("x-hello", "bad").IsZero() {
			t.Error("a bad module ran")
		}
	})
}

// refused says why what the directory wants of a filter does not run: its
// module was found bad, or Envoy refused it.
func (f *fleet) refused(node, name string) (string, error) {
	status, err := f.server.Status(f.t.Context())
	if err != nil {
		return "", err
	}
	for _, s := range status.Filters {
		if s.Name == name && s.State == "failed" {
			return s.Reason, nil
		}
	}
	at, err := status.Filter(node, name)
	if err == nil && (at.State != "failed" || at.Reason == "") {
		err = fmt.Errorf("not refused: %+v", at)
	}
	return at.Reason, err
}

// TestNeverGood: a filter that was never good withholds the listeners that
// need it, or, where its failure lets requests pass, they come without it.
func TestNeverGood(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("listeners.yaml", f.listener("closed")+"---\n"+f.listener("open")+"---\n"+f.listener("plain"))
		bad := wasmtest.Filter{Header: "x-hello", Value: "bad", Fault: wasmtest.RejectConfigure}
		for _, policy := range []string{"closed", "open"} {
			f.write(policy+".yaml", filter(policy, f.module(bad), "onFailure: "+policy, "attach: {listeners: ["+policy+"]}"))
		}
		f.serve()
		e := f.envoy(c, "edge-1")
		plain, open := e.load("plain"), e.load("open")
		f.eventually(func() error {
			if c := open.Counts(); c.Requests < 10 {
				return fmt.Errorf("%v", c)
			}
			return nil
		})
		if _, err := e.Listener(t.Context(), "closed"); err == nil {
			t.Error("a listener without its filter, which fails closed")
		}
		for _, policy := range []string{"closed", "open"} {
			good := wasmtest.Filter{Header: "x-hello", Value: policy}
			f.write(policy+".yaml", filter(policy, f.module(good), "onFailure: "+policy, "attach: {listeners: ["+policy+"]}"))
		}
		start := time.Now()
		f.seen(open, start, "x-hello", "open")
		closed := e.load("closed", "x-hello")
		f.seen(closed, start, "x-hello", "closed")
		e.ready()
		for _, l := range []*harness.Load{plain, open, closed} {
			f.good(l)
		}
	})
}

// TestTrapOnRequest: what each failure policy does when a module traps in a
// request and xds-server is not told of it, and that a new module heals it.
// TestCrashReplaced has what is so where it is told.
func TestTrapOnRequest(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		for policy, want := range map[string]struct{ trapped, after string }{
			"closed": {"503", "503"},        // until there is a new module
			"open":   {"any", "unfiltered"}, // the rest pass without the filter
			"reload": {"503", "filtered"},   // Envoy makes a new VM
		} {
			t.Run(policy, func(t *testing.T) {
				f := newFleet(t)
				f.write("web.yaml", f.listener("web"))
				f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{
					Header: "x-hello", Value: "trapping", Fault: wasmtest.TrapOnRequest}), "onFailure: "+policy))
				f.serve("--signals=false")
				e := f.envoy(c, "edge-1")
				address := e.address("web")
				f.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
				trap := http.Header{wasmtest.TrapHeader: {"1"}}
				if want.trapped != "any" {
					must(t, outcomeIs(t, address, trap, want.trapped))
				} else {
					t.Logf("the request that traps: %s", outcome(t, address, trap))
				}
				f.eventually(func() error { return outcomeIs(t, address, nil, want.after) })
				for range 20 {
					must(t, outcomeIs(t, address, nil, want.after))
				}
				f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "mended"}), "onFailure: "+policy))
				f.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
				e.runs("hello")
			})
		}
	})
}

// outcome is what became of one request: filtered, unfiltered, 503, or the error.
func outcome(t *testing.T, address string, send http.Header) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	headers, err := harness.Request(t.Context(), client, "http://"+address, send)
	switch {
	case err != nil && err.Error()[:3] == "503":
		return "503"
	case err != nil:
		return err.Error()
	case headers.Get("x-hello") == "":
		return "unfiltered"
	}
	return "filtered"
}

func outcomeIs(t *testing.T, address string, send http.Header, want string) error {
	if got := outcome(t, address, send); got != want {
		return errors.New("the request: " + got + ", want: " + want)
	}
	return nil
}
