package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestComputedAllow: with allow: computed a module may use what it imports and
// exports, in each version of Envoy. A newer one that wants more reaches no Envoy,
// also after a restart, until the definition allows it.
func TestComputedAllow(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		write := func(value, allow string, m wasmtest.Filter) {
			m.Header, m.Value = "x-hello", value
			f.write("hello.yaml", filter("hello", f.module(m), "allow: "+allow))
		}
		write("first", "computed", wasmtest.Filter{})
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "first")
		e.runs("hello")
		want := []string{
			"proxy_add_header_map_value", "proxy_get_buffer_bytes", "proxy_get_header_map_value", "proxy_log",
			"proxy_on_configure", "proxy_on_context_create", "proxy_on_delete", "proxy_on_done", "proxy_on_request_headers",
			"proxy_on_vm_start", "proxy_send_local_response",
		}
		status, err := f.server.Status(t.Context())
		must(t, err)
		if got := status.Filters[0]; !slices.Equal(got.Allow, want) || !got.Computed {
			t.Errorf("allowed %q", got.Allow)
		}

		refused := func(what string) {
			t.Helper()
			f.eventually(func() error {
				if reason, err := f.refused("edge-1", "hello"); err != nil || !strings.Contains(reason, "wants "+what) {
					return fmt.Errorf("the reason is %q, %v", reason, err)
				}
				return nil
			})
		}
		write("calls", "computed", wasmtest.Filter{Import: "proxy_http_call"})
		refused("proxy_http_call")
		write("responses", "computed", wasmtest.Filter{Response: true})
		refused("proxy_on_response_headers")
		f.restartServer()
		refused("proxy_on_response_headers")
		write("allowed", "[computed, proxy_on_response_headers]", wasmtest.Filter{Response: true})
		f.seen(l, e.Started, "x-hello", "allowed")
		write("remembered", "computed", wasmtest.Filter{Response: true})
		f.seen(l, e.Started, "x-hello", "remembered")
		e.runs("hello")
		f.good(l)
		for _, value := range []string{"calls", "responses"} {
			if !l.LastSeen("x-hello", value).IsZero() {
				t.Errorf("the module %q ran", value)
			}
		}
	})
}

// TestNotAllowed: what Envoy does when a filter makes a call that its allow list does
// not have. The call does nothing, and answers with an error; a module that takes
// that for impossible traps.
func TestNotAllowed(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		write := func(allow string, fault wasmtest.Fault) {
			f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: allow, Fault: fault}), "allow: "+allow))
		}
		write("computed", wasmtest.None)
		f.serve("--signals=false")
		e := f.envoy(c, "edge-1")
		address := e.address("web")
		f.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })

		write("[proxy_log]", wasmtest.None)
		f.eventually(func() error { return outcomeIs(t, address, nil, "unfiltered") })
		const attempt = "Attempted call to restricted proxy-wasm capability: proxy_add_header_map_value"
		f.eventually(func() error {
			if b, err := os.ReadFile(e.Log()); err != nil || !strings.Contains(string(b), attempt) {
				return fmt.Errorf("not in Envoy's log: %s, %v", attempt, err)
			}
			return nil
		})

		write("[proxy_log]", wasmtest.TrapOnRefusal)
		f.eventually(func() error { return outcomeIs(t, address, nil, "503") })
		write("computed", wasmtest.TrapOnRefusal)
		f.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
	})
}
