package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/signal"
	streams "wasmxds/xds/transport"
)

// heard is what Envoys have told a receiver.
type heard struct {
	receiver *signal.Receiver
	address  string

	mu      sync.Mutex
	crashes []signal.Crash
	samples []signal.Sample
}

// hear serves a receiver of access logs.
func (f *fleet) hear() *heard {
	f.t.Helper()
	h := &heard{}
	h.receiver = signal.NewReceiver(signal.Options{
		May:     func(context.Context, string, string) error { return nil },
		Watched: func(string) bool { return true },
		Sampled: func(_ string, _ time.Time, samples []signal.Sample) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.samples = append(h.samples, samples...)
		},
		Crashed: func(c signal.Crash) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.crashes = append(h.crashes, c)
		},
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(f.t, err)
	h.address = l.Addr().String()
	services := &streams.Services{
		Streams: map[string]streams.Handler{signal.Service + "/" + signal.Method: func(st streams.Stream, first []byte) (streams.Begin, error) {
			r, err := h.receiver.Begin(st.Context(), first)
			return func() (streams.Receiver, error) { return r, nil }, err
		}},
		Others: func(grpc.ServiceRegistrar) {},
	}
	type server interface {
		Serve(net.Listener) error
		Stop()
	}
	var s server
	if *transport == "h2" {
		s = streams.NewH2(services, streams.H2Options{})
	} else {
		g := streams.NewGRPC(nil)
		services.Register(g)
		s = g
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(streams.NewListener(l, 0, slog.New(slog.DiscardHandler))) }()
	f.t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			f.t.Error(err)
		}
	})
	return h
}

func (h *heard) told() (crashes []signal.Crash, samples []signal.Sample) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.crashes, h.samples
}

// loggedListener is a listener of Envoy's own with Wasm filters, given by name
// and module, whose access logs go to the cluster "signals".
func loggedListener(name string, filters ...[2]string) string {
	logger := func(log, filter string) string {
		return fmt.Sprintf(`
      - name: %[1]s
        filter: %[2]s
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig
          common_config:
            log_name: %[1]s
            transport_api_version: V3
            grpc_service: {envoy_grpc: {cluster_name: signals}}
            buffer_flush_interval: 0.1s
            filter_state_objects_to_log: [%[3]s]`, log, filter, signal.OwnerState)
	}
	var chain []string
	for _, f := range filters {
		chain = append(chain, fmt.Sprintf(`
      - name: %s
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config: {name: %[1]s, vm_config: {vm_id: %[3]s-%[1]s, runtime: envoy.wasm.runtime.v8, code: {local: {filename: %[2]s}}}}`, f[0], f[1], name))
	}
	return fmt.Sprintf(`
  - name: %s
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          access_log:%s%s
          route_config:
            name: web
            virtual_hosts: [{name: web, domains: ["*"], routes: [{match: {prefix: /, headers: [{name: x-no-route, present_match: true, invert_match: true}]}, route: {cluster: upstream}}]}]
          http_filters:%s
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`, name, indented(logger(signal.AlarmLog+"/"+name, `
          and_filter:
            filters:
            - status_code_filter: {comparison: {op: GE, value: {default_value: 500, runtime_key: wasmxds.no}}}
            - extension_filter:
                name: cel
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter
                  expression: response.code_details.startsWith('wasm_fail')`)), indented(logger(signal.SampleLog, "{not_health_check_filter: {}}")),
		indented(strings.Join(chain, "")))
}

func indented(s string) string { return strings.ReplaceAll(s, "\n", "\n    ") }

// loggedEdge starts an Envoy with its own listeners, that knows no xds-server.
func (f *fleet) loggedEdge(binary harness.Binary, id, signals string, listeners ...string) *edge {
	f.t.Helper()
	cluster := func(name, address, options string) string {
		host, port, _ := strings.Cut(address, ":")
		return fmt.Sprintf(`
  - name: %s
    %s
    load_assignment:
      cluster_name: %[1]s
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %[3]s, port_value: %[4]s}}}}]}]`, name, options, host, port)
	}
	const http2 = `typed_extension_protocol_options: {envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {"@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {http2_protocol_options: {}}}}`
	bootstrap := fmt.Sprintf("node: {id: %s, cluster: edge}\nadmin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\nstatic_resources:\n  listeners:%s\n  clusters:%s%s\n",
		id, strings.Join(listeners, ""), cluster("upstream", f.upstream.Address(), "type: STATIC"), cluster("signals", signals, http2))
	return f.envoyOf(id, harness.EnvoyConfig{Binary: binary, Bootstrap: []byte(bootstrap)})
}

// TestSignals: what a real Envoy tells of requests and of crashed VMs, and that
// it tells which of several filters has crashed, on which listener.
func TestSignals(t *testing.T) {
	for _, binary := range envoys {
		t.Run(binary.Version, func(t *testing.T) {
			f := newFleet(t)
			h := f.hear()
			file := func(name string, m wasmtest.Filter) [2]string {
				path := filepath.Join(f.dir, name+".wasm")
				must(t, os.WriteFile(path, m.Module(), 0o644))
				return [2]string{name, path}
			}
			good := file("good", wasmtest.Filter{Header: "x-good", Value: "1"})
			bad := file("bad", wasmtest.Filter{Header: "x-bad", Value: "1", Fault: wasmtest.TrapOnRequest})
			e := f.loggedEdge(binary, "edge-1", h.address,
				loggedListener("first", bad, good), loggedListener("second", good, bad))
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for _, listener := range []string{"first", "second"} {
				url := "http://" + e.address(listener)
				for range 10 {
					if _, err := harness.Request(t.Context(), client, url, nil); err != nil {
						t.Fatal(err)
					}
				}
				f.eventually(func() error {
					_, samples := h.told()
					if len(samples) < 10 {
						return fmt.Errorf("%d samples", len(samples))
					}
					return nil
				})
				crashes, samples := h.told()
				for _, s := range samples {
					if s.Error || s.Latency <= 0 || s.Latency > patience {
						t.Errorf("a good request is told as %+v", s)
					}
				}
				if len(crashes) > 0 {
					t.Errorf("nothing has crashed: %+v", crashes)
				}
				// What has no route is an error, though it is answered 404.
				if _, err := harness.Request(t.Context(), client, url, http.Header{"X-No-Route": {"1"}}); err == nil {
					t.Error("what has no route is answered well")
				}
				f.eventually(func() error {
					if _, samples = h.told(); len(samples) != 11 || !samples[10].Error {
						return fmt.Errorf("%d samples: %+v", len(samples), samples)
					}
					return nil
				})
				at := time.Now()
				for _, send := range []http.Header{{http.CanonicalHeaderKey(wasmtest.TrapHeader): {"1"}}, nil} {
					if _, err := harness.Request(t.Context(), client, url, send); err == nil {
						t.Error("a crashed VM answers well")
					}
				}
				f.eventually(func() error {
					if crashes, samples = h.told(); len(crashes) != 2 || len(samples) != 13 || !samples[12].Error {
						return fmt.Errorf("told %+v, %d samples", crashes, len(samples))
					}
					return nil
				})
				t.Logf("trap → alarm: %v, %+v", crashes[0].At.Sub(at).Round(time.Millisecond), crashes[0])
				for _, c := range crashes { // the trap, and what came after it
					c.At = time.Time{}
					if want := (signal.Crash{Node: "edge-1", Listener: listener, Filter: "bad", Details: "wasm_fail_stream"}); c != want {
						t.Errorf("told %+v, want %+v", c, want)
					}
				}
				h.mu.Lock()
				h.crashes, h.samples = nil, nil
				h.mu.Unlock()
			}
			if got := h.receiver.Totals(); got.Dropped+got.Foreign+got.Malformed > 0 {
				t.Errorf("totals %+v", got)
			}
		})
	}
}
