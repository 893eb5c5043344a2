package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// tap is a network filter that puts a word before what clients send.
func (f *fleet) tap(name, word string, lines ...string) time.Time {
	f.t.Helper()
	return f.write(name+".yaml", filter(name, f.module(wasmtest.Filter{Network: true, Value: word}), append(lines, "place: network")...))
}

// connections keeps connections to a listener open, and opens others.
func (e *edge) connections(listener string, kept int) *harness.TCP {
	e.f.t.Helper()
	load := harness.StartTCP(e.f.ctx, harness.TCPConfig{Address: e.address(listener), Kept: kept})
	e.f.t.Cleanup(func() { load.Stop() })
	return load
}

// meet waits until a connection that comes has a word.
func (f *fleet) meet(load *harness.TCP, start time.Time, word string) time.Duration {
	f.t.Helper()
	var at time.Time
	f.eventually(func() (err error) {
		at, err = load.Seen(word)
		return err
	})
	return at.Sub(start)
}

// fails waits until the status says why a filter fails.
func (f *fleet) fails(name, why string) {
	f.t.Helper()
	f.eventually(func() error {
		reason, err := f.refused("edge-1", name)
		if err == nil && !strings.Contains(reason, why) {
			err = fmt.Errorf("filter %s fails as %s, not %s", name, reason, why)
		}
		return err
	})
}

// TestNetworkFilter: a network filter is swapped, stays through modules that can't be
// used and a restart of xds-server, and gets company, with connections open all the
// time: none is dropped, none without its filter, and those that are open keep what
// they have.
func TestNetworkFilter(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("db.yaml", fmt.Sprintf("kind: Listener\nname: db\naddress: 127.0.0.1:0\ntcp: {upstream: %q}\n", echoTCP(t)))
		f.tap("tap", "[1]")
		f.serve()
		e := f.envoy(c, "edge-1")
		load := e.connections("db", 5)
		f.meet(load, e.Started, "[1]")

		took := f.meet(load, f.tap("tap", "[2]"), "[2]")
		e.runs("tap")
		f.write("tap.yaml", filter("tap", "../there-is-none.wasm", "place: network"))
		f.fails("tap", "there-is-none")
		must(t, os.WriteFile(filepath.Join(f.dir, "no.wasm"), []byte("not Wasm"), 0o644))
		f.write("tap.yaml", filter("tap", "../no.wasm", "place: network"))
		f.fails("tap", "not a Wasm module")
		f.write("tap.yaml", filter("tap", f.module(wasmtest.Filter{Network: true, Value: "[bad]", Fault: wasmtest.TrapInConfigure}), "verify: abi", "place: network"))
		f.fails("tap", "Unable to create Wasm plugin")
		f.restartServer()
		f.meet(load, f.tap("tap", "[3]"), "[3]")

		f.tap("second", "[+]", "order: 1")
		f.meet(load, time.Now(), "[+][3]")
		f.remove("second.yaml")
		f.tap("tap", "[4]")
		f.meet(load, time.Now(), "[4]")
		f.eventually(func() error { return e.Ready(t.Context()) })

		for n, word := range load.Kept() {
			if word != "[1]" {
				t.Errorf("connection %d has %s by now", n, word)
			}
		}
		counts := load.Stop()
		report.addScene(t, harness.Counts{Requests: counts.Lines, Failed: counts.Dropped + counts.Changed, Unfiltered: counts.Unfiltered})
		t.Logf("%v; a new module after %v", counts, took)
		if counts.Bad() > 0 || counts.Lines == 0 {
			t.Error(counts)
		}
	})
}

// networkExample has connections begin as they should, in pieces, and otherwise, and
// then has the filter put bytes of its own before them.
func networkExample(t *testing.T, modules string) {
	f := newExample(t, modules, "network", "127.0.0.1:9022", echoTCP(t), "127.0.0.1:8022", "127.0.0.1:0")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	e.runs("preface")
	say := func(pieces ...string) string {
		conn, err := net.Dial("tcp", e.address("ssh"))
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(patience)))
		for _, piece := range pieces {
			if _, err = io.WriteString(conn, piece); err != nil {
				break
			}
			time.Sleep(10 * time.Millisecond) // so that Envoy sees one piece at a time, mostly
		}
		if err == nil {
			err = conn.(*net.TCPConn).CloseWrite()
		}
		back, err2 := io.ReadAll(conn)
		if len(back) == 0 && (err != nil || err2 != nil) {
			return "closed"
		}
		return string(back)
	}
	for _, test := range []struct {
		pieces []string
		want   string
	}{{[]string{"SSH-2.0 hello"}, "SSH-2.0 hello"}, {[]string{"S", "SH", "-2.0"}, "SSH-2.0"}, {[]string{"GET / HTTP/1.1"}, ""}, {[]string{"SSX"}, ""}} {
		if got := say(test.pieces...); got != test.want && !(test.want == "" && got == "closed") {
			t.Errorf("%q: %q came back, want %q", test.pieces, got, test.want)
		}
	}
	edit := func(name string, oldnew ...string) {
		text, err := os.ReadFile(filepath.Join(f.definitions, name))
		must(t, err)
		f.write(name, strings.NewReplacer(oldnew...).Replace(string(text)))
	}
	edit("preface.yaml", "{require: [SSH-]}", `{require: [SSH-], prepend: "edge-1 "}`)
	f.eventually(func() error { // its FilterTest expects something else
		reason, err := f.refused("edge-1", "preface")
		if err == nil && !strings.Contains(reason, "preface-test.yaml:13") {
			err = fmt.Errorf("the reason is %q", reason)
		}
		return err
	})
	if got := say("SSH-2.0"); got != "SSH-2.0" {
		t.Errorf("%q came back while tests fail", got)
	}
	edit("preface-test.yaml", "{upstream: SSH-2.0}", "{upstream: edge-1 SSH-2.0}",
		"{base64: U1NILTIuMC1jbGllbnQNCgAAAAA=}", `"edge-1 SSH-2.0-client\r\n\0\0\0\0"`)
	f.eventually(func() error {
		if got := say("SSH-2.0"); got != "edge-1 SSH-2.0" {
			return fmt.Errorf("%q came back", got)
		}
		return nil
	})
}

// TestNetworkFilterOfOthers: WasmPlugins and EnvoyFilters, and a filter that stands in
// a raw listener itself, reach the chains of raw listeners, HTTP or not; a chain that ends in
// another way than its patch says has no part in it. A listener that gets its first
// network filter, or another order of them, is replaced.
func TestNetworkFilterOfOthers(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		echo := echoTCP(t)
		tap := func(word string) string {
			return "file://" + filepath.Join(f.dir, filepath.Base(f.module(wasmtest.Filter{Network: true, Value: word})))
		}
		f.write("tcp.yaml", strings.NewReplacer("ECHO", strings.Split(echo, ":")[1], "INLINE", strings.TrimPrefix(tap("[inline]"), "file://")).Replace(rawTCP))
		f.write("http.yaml", strings.Replace(f.staticListener("raw-http"), "name: raw-http\n", "name: raw-http\ntraffic_direction: INBOUND\n", 1))
		f.write("up.yaml", f.upstreamCluster())
		f.serve()
		e := f.envoy(c, "edge-1")
		load := e.connections("raw-tcp", 3)
		f.meet(load, e.Started, "[inline]")

		plugin := fmt.Sprintf(`apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: plugin}
spec: {url: %q, type: NETWORK, phase: AUTHN, match: [{mode: SERVER}]}
`, tap(""))
		f.write("plugin.yaml", plugin)
		e.runs("plugin")
		if got := e.get("raw-http", "/"); got.status != 200 {
			t.Errorf("with a network filter that does nothing, the answer is %d", got.status)
		}
		f.write("patch.yaml", fmt.Sprintf(`apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: patch}
spec:
  configPatches:
  - applyTo: NETWORK_FILTER
    match: {context: SIDECAR_INBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.tcp_proxy}}}}
    patch:
      operation: INSERT_BEFORE
      value:
        name: patch
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
          config: {vm_config: {code: {local: {filename: %q}}}}
`, strings.TrimPrefix(tap("[patch]"), "file://")))
		// It is the last, so what the inline one has put there comes behind its word.
		f.meet(load, time.Now(), "[patch][inline]")
		e.runs("patch")
		if got := e.get("raw-http", "/"); got.status != 200 {
			t.Errorf("with a filter for TCP proxies, HTTP is answered %d", got.status)
		}
		counts := load.Stop()
		t.Log(counts)
		if counts.Bad() > 0 || counts.Lines == 0 {
			t.Error(counts)
		}
	})
}

// rawTCP is a raw listener with a filter in its chain, before a cluster that it brings.
const rawTCP = `"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: echo
load_assignment: {cluster_name: echo, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: ECHO}}}}]}]}
---
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: raw-tcp
traffic_direction: INBOUND
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: inline
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.wasm.v3.Wasm
      config: {vm_config: {code: {local: {filename: INLINE}}}}
  - name: envoy.filters.network.tcp_proxy
    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: echo}
`
