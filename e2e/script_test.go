package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// script is a definition of a Lua filter that sets a header.
func script(name, header, value string, lines ...string) string {
	return luaFilter(name, fmt.Sprintf("function envoy_on_request(h)\n  h:headers():replace(%q, %q)\nend", header, value), lines...)
}

func luaFilter(name, text string, lines ...string) string {
	return fmt.Sprintf("kind: LuaFilter\nname: %s\ninline: |\n  %s\n%s", name, strings.ReplaceAll(text, "\n", "\n  "), joined(lines))
}

// TestScript: a Lua filter beside a Wasm filter is changed, broken, mended, moved,
// made a Wasm filter and back, under load; no request fails or goes without either.
func TestScript(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		f.write("tag.yaml", script("tag", "x-tag", "1"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello", "x-tag")
		f.seen(l, e.Started, "x-tag", "1")
		for _, v := range []string{"2", "3"} {
			f.seen(l, f.write("tag.yaml", script("tag", "x-tag", v)), "x-tag", v)
		}
		version := e.listens("web")

		f.write("tag.yaml", luaFilter("tag", "function envoy_on_request(h)\n  h:headers():replace('x-tag', '4'\nend"))
		at := e.state("tag", "failed")
		for _, want := range []string{"Envoy rejects the script", ":3: ')' expected", "it keeps running " + at.Running} {
			if !strings.Contains(at.Reason, want) {
				t.Errorf("the status says %q, without %q", at.Reason, want)
			}
		}
		f.seen(l, f.hello("2"), "x-hello", "2") // which that takes nothing from

		f.seen(l, f.write("tag.yaml", luaFilter("tag", "function envoy_on_request(h)\n  h:headers():replace('x-tag', '5')\n  h:noSuch()\nend")), "x-tag", "5")
		f.eventually(func() error {
			stats, err := e.Stats(t.Context(), `lua\.errors$`)
			errors := int64(0)
			for _, n := range stats {
				errors += n
			}
			if err == nil && errors == 0 {
				err = fmt.Errorf("no error in a request: %v", stats)
			}
			return err
		})

		f.seen(l, f.write("tag.yaml", script("tag", "x-tag", "6", "order: -1")), "x-tag", "6")
		file := filepath.Join(f.definitions, "more.lua")
		put := func(value string) {
			must(t, os.WriteFile(file, []byte("function envoy_on_request(h) h:headers():replace('x-more', '"+value+"') end"), 0o644))
		}
		put("1")
		start := f.write("more.yaml", "kind: LuaFilter\nname: more\nfile: more.lua\n")
		f.seen(l, start, "x-more", "1")
		put("2")
		f.seen(l, start, "x-more", "2")
		if got := e.listens("web"); got != version {
			t.Errorf("the listener was replaced, %s by %s, for filters that go into slots", version, got)
		}

		f.restartServer()
		e.runs("tag")
		f.seen(l, f.write("tag.yaml", script("tag", "x-tag", "7")), "x-tag", "7")
		wasm := filter("tag", f.module(wasmtest.Filter{Header: "x-tag", Value: "8"}))
		f.seen(l, f.write("tag.yaml", wasm), "x-tag", "8")
		f.seen(l, f.write("tag.yaml", script("tag", "x-tag", "9")), "x-tag", "9")
		e.runs("tag")
		t.Log(f.good(l))

		fresh := f.envoy(c, "edge-2")
		again := fresh.load("web", "x-hello", "x-tag", "x-more")
		f.seen(again, fresh.Started, "x-tag", "9")
		f.good(again)
	})
}

// TestScriptTogether: a Lua filter and a Wasm filter that change at once, and of which
// nothing has to be fetched, are primed together, whatever the order of their names.
func TestScriptTogether(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		module := f.module(wasmtest.Filter{Header: "x-hello", FromConfig: true})
		both := func(v string) time.Time {
			return f.write("both.yaml", script("added", "x-added", v)+"---\n"+filter("hello", module, "config: "+v))
		}
		both("v1")
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello", "x-added")
		f.seen(l, e.Started, "x-added", "v1")
		for _, v := range []string{"v2", "v3"} {
			start := both(v)
			f.seen(l, start, "x-added", v)
			f.seen(l, start, "x-hello", v)
		}
		e.runs("added")
		e.runs("hello")
		t.Log(f.good(l))
	})
}

// TestFirstScript: a listener that was there before any Lua filter is replaced for
// the first one, when that is primed, and for no other.
func TestFirstScript(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("1")
		f.serve()
		e := f.envoy(c, "edge-1", "--drain-time", "2s")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		version := e.listens("web")

		f.write("tag.yaml", luaFilter("tag", "function envoy_on_request("))
		e.state("tag", "failed")
		f.seen(l, f.write("other.yaml", filter("other", f.module(wasmtest.Filter{Header: "x-other", Value: "1"}))), "x-other", "1")
		if got := e.listens("web"); got != version {
			t.Errorf("the listener was replaced, %s by %s, for a script that is refused", version, got)
		}
		f.seen(l, f.write("tag.yaml", script("tag", "x-tag", "1")), "x-tag", "1")
		e.runs("tag")
		version = e.listens("web")
		f.seen(l, f.write("more.yaml", script("more", "x-more", "1")), "x-more", "1")
		if got := e.listens("web"); got != version {
			t.Errorf("the listener was replaced, %s by %s, for the second script", version, got)
		}
		t.Log(f.good(l))
	})
}

// listens is the version of a listener that the Envoy has.
func (e *edge) listens(listener string) string {
	e.f.t.Helper()
	status, err := e.f.server.Status(e.f.t.Context())
	must(e.f.t, err)
	for _, n := range status.Nodes {
		for _, l := range n.Listeners {
			if n.ID == e.id && l.Name == listener {
				return l.Running
			}
		}
	}
	e.f.t.Fatalf("Envoy %s has no listener %s", e.id, listener)
	return ""
}
