package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

const luaType = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"

// lua is an extension that sets a header; with no header it is one that is
// valid, and that Envoy refuses.
func lua(name, header, value string) string {
	script := fmt.Sprintf("function envoy_on_request(h) h:headers():replace('%s', '%s') end", header, value)
	if header == "" {
		script = "function envoy_on_request( -- " + value
	}
	return fmt.Sprintf(`"@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
name: %s
typed_config: {"@type": %s, default_source_code: {inline_string: %q}}
`, name, luaType, script)
}

// luaListener is a raw listener with a slot for an extension of its own. It is
// not at the address of another: one with port 0 takes over the port of any that
// drains there.
func (f *fleet) luaListener(name, slot, ip, response string) string {
	l := strings.Replace(f.staticListener(name, slot), "127.0.0.1, port_value: 0", ip+", port_value: 0", 1)
	l = strings.Replace(l, "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm", luaType, 1)
	return strings.Replace(l, "virtual_hosts:", fmt.Sprintf("response_headers_to_add: [{header: {key: x-version, value: %q}}]\n        virtual_hosts:", response), 1)
}

// TestRefusedExtension: an extension that Envoy refuses comes in one write with
// a filter that its listener and another are to wait for. One NACK ends the wait
// of all slots: the filter has to be in place before it can come.
func TestRefusedExtension(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web")+"---\n"+f.upstreamCluster())
		names := []string{"web"}
		hello := func(value string) time.Time {
			return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value}),
				"attach: {listeners: ["+strings.Join(names, ", ")+"]}"))
		}
		hello("1")
		f.serve()
		e := f.envoy(c, "edge-1")
		l := harness.StartLoad(f.ctx, harness.LoadConfig{Address: e.address("web"), Headers: []string{"x-hello"}, Workers: 9, Pause: time.Millisecond})
		t.Cleanup(func() { l.Stop() })
		f.seen(l, e.Started, "x-hello", "1")

		for i := range 4 {
			more, edge, rules := fmt.Sprintf("more-%d", i), fmt.Sprintf("edge-%d", i), fmt.Sprintf("a-rules-%d", i)
			start := f.write(edge+".yaml", strings.Join([]string{
				filter(more, f.module(wasmtest.Filter{Header: "x-" + more, Value: "1"}), "attach: {listeners: [web, "+edge+"]}"),
				f.luaListener(edge, rules, fmt.Sprintf("127.0.0.%d", 2+i), "1"),
				lua(rules, "", "1"),
			}, "---\n"))
			f.seen(l, start, "x-"+more, "1")
			e.runs(more)
			f.eventually(func() error { return e.hasRefused(rules) })
		}
		names = append(names, "edge-0")
		f.seen(l, hello("2"), "x-hello", "2")
		f.good(l)
	})
}

// TestMendedExtension: an extension that Envoy refuses leaves the one before in
// force, does not keep its listener from changing, and comes once it is mended.
func TestMendedExtension(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		set := func(response, extension string) time.Time {
			return f.write("edge.yaml", f.luaListener("edge", "rules", "127.0.0.1", response)+"---\n"+f.upstreamCluster()+"---\n"+extension)
		}
		hello := func(value string) time.Time {
			return f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: value}), "attach: {listeners: [edge]}"))
		}
		set("1", lua("rules", "", "first"))
		hello("1")
		f.serve()
		e := f.envoy(c, "edge-1")
		f.eventually(func() error { return e.hasRefused("rules") })
		e.ready() // the filter is well, and what is not ours answers for itself
		if got := e.get("edge", "/"); got.status != http.StatusInternalServerError {
			t.Errorf("a listener without one of its extensions answers %d", got.status)
		}

		start := set("1", lua("rules", "x-rules", "one"))
		f.eventually(func() error { return e.answers("edge", "x-rules", "one") })
		l := e.load("edge", "x-hello", "x-rules")
		f.seen(l, start, "x-rules", "one")

		set("2", lua("rules", "", "second"))
		f.eventually(func() error { return e.version("edge", "2") })
		start = hello("2")
		f.seen(l, start, "x-hello", "2")
		set("3", lua("rules", "", "second"))
		f.eventually(func() error { return e.version("edge", "3") })
		start = set("4", lua("rules", "x-rules", "two"))
		f.seen(l, start, "x-rules", "two")
		f.eventually(func() error { return e.version("edge", "4") })
		set("4", lua("rules", "", "third"))
		hello("3")
		start = set("4", lua("rules", "x-rules", "one"))
		f.seen(l, start, "x-hello", "3")
		f.eventually(func() error { return e.answers("edge", "x-rules", "one") })
		f.good(l)
	})
}

// hasRefused asks the Envoy whether it has refused an extension.
func (e *edge) hasRefused(name string) error {
	stats, err := e.Get(e.f.t.Context(), "/stats?usedonly&filter="+name+`.config_fail`)
	if err == nil && len(stats) == 0 {
		err = fmt.Errorf("%s was not refused", name)
	}
	return err
}

// answers looks for a header that reaches the upstream.
func (e *edge) answers(listener, header, value string) error {
	a := e.get(listener, "/")
	if got := a.reached.Get(header); got != value {
		return fmt.Errorf("%d, header %s: %q", a.status, header, got)
	}
	return nil
}

// version looks for what the listener itself adds to its answers.
func (e *edge) version(listener, value string) error {
	if got := e.get(listener, "/").header.Get("x-version"); got != value {
		return fmt.Errorf("listener %s is in version %q", listener, got)
	}
	return nil
}
