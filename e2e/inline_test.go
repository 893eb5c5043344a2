package e2e

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// inlined is a raw listener before the upstream with HTTP filters as they are
// given, before its router.
func (f *fleet) inlined(name string, filters ...string) string {
	l := f.staticListener(name)
	router := "      - name: envoy.filters.http.router"
	return strings.Replace(l, router, joined(filters)+router, 1)
}

// wasmOf is a Wasm HTTP filter in Envoy's own form, for inlined.
func wasmOf(name, uri, sha256 string, lines ...string) string {
	return fmt.Sprintf(`      - name: %s
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
          config: {name: p, vm_config: {runtime: envoy.wasm.runtime.v8, code: {remote: {http_uri: {uri: %q, cluster: any, timeout: 5s}, sha256: %q}}}}
`, name, uri, sha256) + joined(lines)
}

// TestInline: a Wasm filter in a raw listener is mirrored, tried and primed as
// any other: through new modules and ones that can't be had the old one goes
// on, and the status says what is wrong where.
func TestInline(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		w.write("up.yaml", w.upstreamCluster())
		w.remove("web.yaml")
		hello := func(value string, m wasmtest.Filter) time.Time {
			m.Header, m.Value = "x-hello", value
			uri := w.origin.Put(value+".wasm", m.Module())
			return w.write("edge.yaml", w.inlined("edge", wasmOf("my.wasm", uri, harness.SHA256(m.Module()))))
		}
		hello("0", wasmtest.Filter{})
		w.serve()
		e := w.envoy(c, "edge-1")
		l := e.load("edge", "x-hello")
		w.seen(l, e.Started, "x-hello", "0")
		for i := 1; i <= rounds(); i++ {
			value := fmt.Sprint(i)
			t.Logf("file written → new header: %v", w.seen(l, hello(value, wasmtest.Filter{}), "x-hello", value))
		}
		for name, bad := range map[string]func(){
			"gone": func() {
				w.write("edge.yaml", w.inlined("edge", wasmOf("my.wasm", "http://"+w.origin.Address()+"/gone.wasm", strings.Repeat("a", 64))))
			},
			"refused": func() { hello("bad", wasmtest.Filter{Fault: wasmtest.RejectConfigure}) },
		} {
			bad()
			w.eventually(func() error {
				reason, err := w.refused("edge-1", "edge/my.wasm")
				if err == nil {
					t.Logf("%s: %q", name, reason)
				}
				return err
			})
			out, err := exec.CommandContext(t.Context(), xdsServer, "validate", "--modules", w.definitions).CombinedOutput()
			if err == nil || !strings.Contains(string(out), "edge.yaml:15") {
				t.Errorf("%s: validate --modules: %v, %s", name, err, out)
			}
			w.seen(l, hello("after-"+name, wasmtest.Filter{}), "x-hello", "after-"+name)
			e.runs("edge/my.wasm")
		}
		w.good(l)
		if !l.LastSeen("x-hello", "bad").IsZero() {
			t.Error("a bad module ran")
		}
	})
}

// TestInlinePlaces: filters of one name with different modules, in chains of
// all kinds, one that routes enable, one that another disables.
func TestInlinePlaces(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		w.write("up.yaml", w.upstreamCluster())
		w.remove("web.yaml")
		of := func(value string, lines ...string) string {
			m := wasmtest.Filter{Header: "x-" + value, Value: value}.Module()
			return wasmOf("my.wasm", w.origin.Put(value+".wasm", m), harness.SHA256(m), lines...)
		}
		perRoute := func(prefix, name, config string) string {
			return fmt.Sprintf(`{match: {prefix: %s}, route: {cluster: upstream}, typed_per_filter_config: {%s: {"@type": type.googleapis.com/envoy.config.route.v3.FilterConfig%s}}}, `, prefix, name, config)
		}
		routes := "routes: ["
		first := w.inlined("first", of("one"), of("two"), strings.Replace(of("off", "        disabled: true"), "my.wasm", "off.wasm", 1))
		first = strings.Replace(first, routes, routes+perRoute("/on", "off.wasm", ", config: {}")+perRoute("/none", "my.wasm", ", disabled: true"), 1)
		second := strings.Replace(w.inlined("second", of("three", "        is_optional: true")), "\nfilter_chains:\n- filters:", "\ndefault_filter_chain:\n  filters:", 1)
		w.write("edge.yaml", first+"---\n"+second)
		w.serve()
		e := w.envoy(c, "edge-1")
		for _, test := range []struct{ listener, path, want string }{
			{"first", "/", "one two"},
			{"first", "/on", "one two off"},
			{"first", "/none", ""},
			{"second", "/", "three"},
		} {
			a := e.get(test.listener, test.path)
			var got []string
			for _, name := range []string{"one", "two", "off", "three"} {
				if a.reached.Get("x-"+name) != "" {
					got = append(got, name)
				}
			}
			if a.status != http.StatusOK || strings.Join(got, " ") != test.want {
				t.Errorf("%s%s: %d, through %q, want %q", test.listener, test.path, a.status, got, test.want)
			}
		}
		for _, name := range []string{"first/my.wasm", "first/my.wasm#2", "first/off.wasm", "second/my.wasm"} {
			e.runs(name)
		}
	})
}

// TestInlineNeverGood: a raw listener whose own Wasm filter was never had does
// not serve without it, unless that lets requests pass when it fails.
func TestInlineNeverGood(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		w := newWebFleet(t, "")
		w.write("up.yaml", w.upstreamCluster())
		w.remove("web.yaml")
		m := wasmtest.Filter{Header: "x-hello", Value: "1"}.Module()
		uri := w.origin.Put("hello.wasm", m)
		w.origin.Fail("hello.wasm", harness.OriginFault{Status: http.StatusNotFound})
		of := wasmOf("my.wasm", uri, harness.SHA256(m))
		w.write("edge.yaml", w.inlined("closed", of)+"---\n"+w.inlined("open", strings.Replace(of, "{name: p,", "{name: p, fail_open: true,", 1)))
		w.serve()
		e := w.envoy(c, "edge-1")
		open := e.load("open")
		t.Log(w.notHad("closed/my.wasm"))
		if _, err := e.Listener(t.Context(), "closed"); err == nil {
			t.Error("a listener without its filter, which fails closed")
		}
		w.origin.Fail("hello.wasm", harness.OriginFault{})
		start := time.Now()
		closed := e.load("closed", "x-hello")
		w.seen(closed, start, "x-hello", "1")
		w.seen(open, start, "x-hello", "1")
		e.ready()
		w.good(closed)
		w.good(open)
	})
}
