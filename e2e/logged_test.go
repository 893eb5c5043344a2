package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"wasmxds/bootstrap"
	"wasmxds/definition"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/signal"
	"wasmxds/xds"
)

// TestCrashIsTold: an Envoy tells of a VM that has crashed within a second, and of
// nothing before: it has not even connected for that. So does one that has an older
// bootstrap.
func TestCrashIsTold(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.write("bad.yaml", filter("bad", f.module(wasmtest.Filter{Header: "x-bad", Value: "1", Fault: wasmtest.TrapOnRequest})))
		f.serve()
		e := f.envoy(c, "edge-1")
		config, err := f.server.Bootstrap(f.ctx, "older", "--protocol", c.protocol)
		must(t, err)
		older := f.envoyWith(c, "older", withoutRuntime(t, config))
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		for _, e := range []*edge{e, older} {
			e.runs("bad")
			url := "http://" + e.address("web")
			for range 50 {
				_, err := harness.Request(t.Context(), client, url, nil)
				must(t, err)
			}
		}
		if told := f.told(t); told != (accessLogs{}) {
			t.Errorf("nothing has happened, and told are %+v", told)
		}
		crashes := 0
		for _, e := range []*edge{e, older} {
			if n := e.toServer(t); n != 1 {
				t.Errorf("%s has %d connections to xds-server, without anything to tell", e.id, n)
			}
			at := time.Now()
			if _, err := harness.Request(t.Context(), client, "http://"+e.address("web"), http.Header{wasmtest.TrapHeader: {"1"}}); err == nil {
				t.Error("a request at which the VM traps was answered well")
			}
			crashes++
			f.eventually(func() error {
				if told := f.told(t); told.crashes != crashes {
					return fmt.Errorf("told are %+v", told)
				}
				return nil
			})
			took := time.Since(at)
			t.Logf("%s: trap → told: %v", e.id, took.Round(time.Millisecond))
			if took > time.Second {
				t.Errorf("xds-server knows of the crash after %v", took)
			}
		}
		log, err := os.ReadFile(f.server.Log())
		must(t, err)
		for _, e := range []*edge{e, older} {
			if want := fmt.Sprintf("a request was answered by a crashed VM\" node=%s listener=web filter=slot/web/", e.id); !bytes.Contains(log, []byte(want)) {
				t.Errorf("the log has no %q", want)
			}
		}
	})
}

// TestWithoutSignals: xds-server that is told so sends listeners without loggers.
func TestWithoutSignals(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.write("bad.yaml", filter("bad", f.module(wasmtest.Filter{Header: "x-bad", Value: "1", Fault: wasmtest.TrapOnRequest})))
		f.serve("--signals=false")
		e := f.envoy(c, "edge-1")
		e.runs("bad")
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if _, err := harness.Request(t.Context(), client, "http://"+e.address("web"), http.Header{wasmtest.TrapHeader: {"1"}}); err == nil {
			t.Error("a request at which the VM traps was answered well")
		}
		config, err := e.Get(t.Context(), "/config_dump")
		must(t, err)
		if bytes.Contains(config, []byte(signal.AlarmLog)) {
			t.Error("it has access loggers")
		}
		stats, err := e.Stats(t.Context(), "access_logs")
		must(t, err)
		if stats["access_logs.grpc_access_log.logs_written"] > 0 {
			t.Errorf("it has written logs: %v", stats)
		}
	})
}

// withoutRuntime takes xds-server's layer out of a bootstrap.
func withoutRuntime(t *testing.T, bootstrap []byte) []byte {
	t.Helper()
	before, rest, found := strings.Cut(string(bootstrap), "    - name: wasmxds-signals\n")
	_, after, more := strings.Cut(rest, "    - name: admin\n")
	if !found || !more {
		t.Fatalf("no such layer in\n%s", bootstrap)
	}
	return []byte(before + "    - name: admin\n" + after)
}

// toServer is how many connections to the ADS address the Envoy has made.
func (e *edge) toServer(t *testing.T) int64 {
	t.Helper()
	stats, err := e.Stats(t.Context(), "cluster.wasmxds.upstream_cx_total")
	must(t, err)
	return stats["cluster.wasmxds.upstream_cx_total"]
}

// accessLogs are the metrics of those.
type accessLogs struct{ streams, crashes, others int }

// told is what Envoys have told xds-server in access logs.
func (f *fleet) told(t *testing.T) accessLogs {
	t.Helper()
	metrics, err := f.server.Get(t.Context(), "/metrics")
	must(t, err)
	var told accessLogs
	for line := range strings.Lines(string(metrics)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.HasPrefix(name, "wasmxds_access_log") {
			continue
		}
		n, err := strconv.Atoi(value)
		must(t, err)
		switch name {
		case "wasmxds_access_log_streams":
			told.streams = n
		case `wasmxds_access_log_entries_total{taken="crash"}`:
			told.crashes = n
		default:
			told.others += n
		}
	}
	return told
}

// TestSampling: the one Envoy that is looked at tells of its requests within two
// seconds, in the share that is asked for, the others of none; and nobody does when
// nobody looks any more. No listener changes for that.
func TestSampling(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		s := f.sample(c)
		first, second := s.envoy("edge-1"), s.envoy("edge-2")
		client := &http.Client{Transport: &http.Transport{}}
		defer client.CloseIdleConnections()
		request := func(n int) {
			for range n {
				for _, e := range []*edge{first, second} {
					_, err := harness.Request(t.Context(), client, "http://"+e.address("web"), nil)
					must(t, err)
				}
			}
		}
		before := first.changes(t)
		request(20)
		for _, e := range []*edge{first, second} {
			if n := e.toServer(t); n != 1 {
				t.Errorf("%s has %d connections to xds-server, and nobody looks at it", e.id, n)
			}
		}
		s.server.Sample("edge-1", 1_000_000)
		f.eventually(func() error {
			request(1)
			if n := s.count("edge-1"); n == 0 {
				return fmt.Errorf("nothing is told")
			}
			return nil
		})
		settled := s.count("edge-1")
		f.eventually(func() error { // those that were under way are there
			n := s.count("edge-1")
			if more := n - settled; more != 0 {
				settled = n
				return fmt.Errorf("%d more", more)
			}
			return nil
		})
		request(50)
		f.eventually(func() error {
			if n := s.count("edge-1"); n < settled+50 {
				return fmt.Errorf("%d of 50 requests are told", n-settled)
			}
			return nil
		})
		s.server.Sample("edge-1", 100_000)
		f.eventually(func() error { return first.sampling(t, "100000") })
		settled = s.count("edge-1")
		request(400)
		f.eventually(func() error {
			if n := s.count("edge-1") - settled; n < 15 {
				return fmt.Errorf("%d of some 40 requests are told", n)
			}
			return nil
		})
		if n := s.count("edge-1") - settled; n > 80 {
			t.Errorf("%d of 400 requests are told, at 10%%", n)
		}
		s.server.Sample("edge-1", 0)
		f.eventually(func() error { return first.sampling(t, "0") })
		written := first.written(t)
		request(50)
		if n := first.written(t); n != written {
			t.Errorf("%d requests are told, and nobody looks any more", n-written)
		}
		if n := s.count("edge-2") + int(second.written(t)); n > 0 {
			t.Errorf("edge-2 has told of %d requests", n)
		}
		if n := first.changes(t); n != before {
			t.Error("its listener was changed")
		}
	})
}

// sampled is an xds-server in this process, with a listener, that takes samples.
type sampled struct {
	f       *fleet
	c       combination
	server  *xds.Server
	address string
	samples chan string // the node of each
	counts  map[string]int
}

func (f *fleet) sample(c combination) *sampled {
	f.t.Helper()
	s := &sampled{f: f, c: c, samples: make(chan string, 10_000), counts: map[string]int{}}
	receiver := signal.NewReceiver(signal.Options{
		May:     func(context.Context, string, string) error { return nil },
		Watched: func(node string) bool { return s.server.Sampling(node) > 0 },
		Sampled: func(node string, _ time.Time, samples []signal.Sample) {
			for range samples {
				s.samples <- node
			}
		},
		Crashed: func(signal.Crash) {},
	})
	s.server = xds.New(xds.Options{Logs: func(ctx context.Context, first []byte) (xds.LogStream, error) { return receiver.Begin(ctx, first) }})
	catalog, problems := resource.Compile(nil, resource.Sets{Base: &module.Set{Listeners: []*definition.Listener{{
		Name: "web", Address: "127.0.0.1:0", Routes: []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: f.upstream.Address(), Weight: 1}}}},
	}}}}, resource.Options{ModulesURL: "http://127.0.0.1:1", Signals: bootstrap.XDSCluster})
	for _, p := range problems.Base {
		f.t.Fatal(p)
	}
	s.server.Publish(xds.Publication{Catalog: catalog})
	s.address = f.serveStreams(s.server)
	return s
}

func (s *sampled) envoy(id string) *edge {
	s.f.t.Helper()
	return s.f.envoyAt(s.c, id, s.address)
}

// count is how many samples of a node have come.
func (s *sampled) count(node string) int {
	for {
		select {
		case of := <-s.samples:
			s.counts[of]++
		default:
			return s.counts[node]
		}
	}
}

// sampling tells whether the Envoy's runtime has a rate.
func (e *edge) sampling(t *testing.T, want string) error {
	t.Helper()
	runtime, err := e.Get(t.Context(), "/runtime")
	if err == nil && !strings.Contains(string(runtime), fmt.Sprintf(`"final_value": %q`, want)) {
		err = fmt.Errorf("its runtime is %s", runtime)
	}
	return err
}

// written is how many entries the Envoy's loggers have had.
func (e *edge) written(t *testing.T) int64 {
	t.Helper()
	stats, err := e.Stats(t.Context(), "access_logs.grpc_access_log.logs_written")
	must(t, err)
	return stats["access_logs.grpc_access_log.logs_written"]
}

// changes is how often listeners came or changed.
func (e *edge) changes(t *testing.T) int64 {
	t.Helper()
	stats, err := e.Stats(t.Context(), "listener_manager.listener_(added|modified|removed)")
	must(t, err)
	n := int64(0)
	for _, v := range stats {
		n += v
	}
	return n
}

// rawListener is one as Envoy has it, with a logger of its own.
const rawListener = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: raw
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.http_connection_manager
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: raw
      access_log:
      - name: own
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
          path: %s
          log_format: {text_format_source: {inline_string: "%%RESPONSE_CODE%% %%RESPONSE_CODE_DETAILS%%\n"}}
      route_config:
        virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]
      http_filters:
      - name: envoy.filters.http.router
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
`

// TestCrashInRawListener: listeners that people wrote tell of crashes as well, and
// keep what they say themselves. An Envoy whose cluster to xds-server has a name
// that the server does not know has the same listeners, and tells nothing.
func TestCrashInRawListener(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		own := filepath.Join(f.dir, "own.log")
		f.write("raw.yaml", fmt.Sprintf(rawListener, own))
		f.write("bad.yaml", filter("bad", f.module(wasmtest.Filter{Header: "x-bad", Value: "1", Fault: wasmtest.TrapOnRequest})))
		f.serve("--signals-cluster", "control-plane")
		crash := func(e *edge) {
			e.runs("bad")
			for _, send := range []http.Header{nil, {wasmtest.TrapHeader: {"1"}}} {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+e.address("raw"), nil)
				must(t, err)
				maps.Copy(r.Header, send)
				r.Close = true
				answer, err := http.DefaultClient.Do(r)
				must(t, err)
				must(t, answer.Body.Close())
				if want := map[bool]int{false: 200, true: 503}[send != nil]; answer.StatusCode != want {
					t.Errorf("answered %s, want %d", answer.Status, want)
				}
			}
		}
		config, err := f.server.Bootstrap(f.ctx, "stranger", "--protocol", c.protocol)
		must(t, err)
		quick := func(id string, bootstrap []byte) *edge { // else its own log is written every ten seconds
			return f.envoyOf(id, harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap, Args: []string{"--file-flush-interval-msec", "100"}})
		}
		stranger := quick("stranger", config)
		crash(stranger)
		config, err = f.server.Bootstrap(f.ctx, "edge-1", "--protocol", c.protocol)
		must(t, err)
		renamed := strings.ReplaceAll(string(config), "cluster_name: wasmxds\n", "cluster_name: control-plane\n")
		renamed = strings.Replace(renamed, "- name: wasmxds\n", "- name: control-plane\n", 1) // of clusters, which come first
		e := quick("edge-1", []byte(renamed))
		crash(e)
		f.eventually(func() error {
			if told := f.told(t); told.crashes != 1 {
				return fmt.Errorf("told are %+v", told)
			}
			return nil
		})
		log, err := os.ReadFile(f.server.Log())
		must(t, err)
		if want := "a request was answered by a crashed VM\" node=edge-1 listener=raw filter=slot/raw/"; !bytes.Contains(log, []byte(want)) {
			t.Errorf("the log has no %q", want)
		}
		if n := stranger.toServer(t); n != 1 {
			t.Errorf("the Envoy without the cluster has %d connections to xds-server", n)
		}
		f.eventually(func() error {
			log, err := os.ReadFile(own)
			if n := strings.Count(string(log), "503 wasm_fail_stream\n"); err == nil && (n != 2 || strings.Count(string(log), "200 direct_response\n") != 2) {
				err = fmt.Errorf("its own log has %q", log)
			}
			return err
		})
	})
}
