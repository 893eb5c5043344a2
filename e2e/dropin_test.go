package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestDropIn is a day in the life of a directory, with requests all the while:
// each must be answered, and through the first filter.
func TestDropIn(t *testing.T) { eachCombination(t, dropIn) }

func dropIn(t *testing.T, c combination) {
	f := newFleet(t)
	byConfig := f.module(wasmtest.Filter{Header: "x-hello", FromConfig: true})
	f.write("web.yaml", f.listener("web"))
	f.write("hello.yaml", filter("hello", byConfig, "config: first"))
	f.serve()
	e := f.envoy(c, "edge-1")
	l := e.load("web", "x-hello") // from the moment that the port is there

	scene := func(name string, play func(t *testing.T)) {
		ok := t.Run(name, func(t *testing.T) {
			outer := f.t
			f.t = t
			defer func() { f.t = outer }()
			play(t)
			if n := l.Counts(); n.Bad() > 0 {
				t.Errorf("until here: %v", n)
			}
		})
		if !ok {
			t.FailNow()
		}
	}
	second := filter("second", f.module(wasmtest.Filter{Header: "x-second", Value: "there"}), "order: 20")

	scene("first request", func(t *testing.T) {
		t.Logf("Envoy started → first header: %v", f.seen(l, e.Started, "x-hello", "first"))
		e.ready()
		e.runs("hello")
	})
	scene("changed config", func(t *testing.T) {
		t.Logf("file written → new header: %v", changes(f, l, func(value string) time.Time {
			return f.write("hello.yaml", filter("hello", byConfig, "config: "+value))
		}))
	})
	scene("changed module", func(t *testing.T) {
		t.Logf("file written → new header: %v", changes(f, l, func(value string) time.Time {
			url := f.module(wasmtest.Filter{Header: "x-hello", Value: value})
			return f.write("hello.yaml", filter("hello", url))
		}))
	})
	scene("second filter", func(t *testing.T) {
		start := f.write("second.yaml", second)
		t.Logf("file written → new header: %v", f.seen(l, start, "x-second", "there"))
		e.runs("second")
	})
	scene("broken file", func(t *testing.T) {
		f.write("hello.yaml", "kind: WasmFilter\nname: hello\nmodul: {}\n")
		f.eventually(func() error {
			status, err := f.server.Status(t.Context())
			if err != nil {
				return err
			}
			for _, p := range status.Definitions.Errors {
				if strings.HasSuffix(p.File, "hello.yaml") && p.Line == 3 {
					return nil
				}
			}
			return fmt.Errorf("the status has no error at hello.yaml:3: %+v", status.Definitions.Errors)
		})
		f.write("second.yaml", second+"config: changed\n") // what is beside it goes on
		f.eventually(func() error {
			extensions, err := e.Extensions(t.Context())
			if got := extensions["second"].Config; err == nil && got != "changed" {
				err = fmt.Errorf("Envoy runs the second filter with config %q", got)
			}
			return err
		})
		start := f.write("hello.yaml", filter("hello", byConfig, "config: mended"))
		f.seen(l, start, "x-hello", "mended")
	})
	scene("server restarted", func(t *testing.T) {
		e.runs("hello")
		_, before, err := e.Answers(t.Context(), modulesCluster)
		must(t, err)
		updates, err := e.Stats(t.Context(), `\.(config_reload|update_success)$`)
		must(t, err)
		f.restartServer()
		e.runs("hello")
		e.runs("second")
		_, after, err := e.Answers(t.Context(), modulesCluster)
		must(t, err)
		if after != before {
			t.Errorf("%d modules were fetched again", after-before)
		}
		again, err := e.Stats(t.Context(), `\.(config_reload|update_success)$`)
		must(t, err)
		for name, n := range again {
			if n != updates[name] {
				t.Errorf("%s: %d, was %d: something was sent again", name, n, updates[name])
			}
		}
		start := f.write("hello.yaml", filter("hello", byConfig, "config: restarted"))
		f.seen(l, start, "x-hello", "restarted")
	})
	scene("filter removed", func(t *testing.T) {
		f.remove("second.yaml")
		f.eventually(func() error {
			if last := l.LastSeen("x-second", "there"); time.Since(last) < 100*time.Millisecond {
				return fmt.Errorf("the removed filter still ran at %v", last)
			}
			return nil
		})
		e.runs("hello")
	})
	c2 := f.good(l)
	t.Logf("%v; p50 %v", c2, l.Latency(0.5))
}

// changes makes a few changes, waits for each to be seen, and returns the
// median of the times that took.
func changes(f *fleet, l *harness.Load, change func(value string) time.Time) time.Duration {
	f.t.Helper()
	var took []time.Duration
	for i := range 5 {
		value := fmt.Sprintf("%s-%d", strings.ReplaceAll(f.t.Name(), "/", "-"), i)
		took = append(took, f.seen(l, change(value), "x-hello", value))
	}
	return harness.Quantile(took, 0.5)
}

// TestLabels: each Envoy gets what its labels select.
func TestLabels(t *testing.T) { eachCombination(t, labels) }

func labels(t *testing.T, c combination) {
	f := newFleet(t)
	f.write("web.yaml", f.listener("web"))
	for _, side := range []string{"left", "right"} {
		url := f.module(wasmtest.Filter{Header: "x-side", Value: side})
		f.write(side+".yaml", filter(side, url, "attach: {nodes: {labels: {side: "+side+"}}}"))
	}
	f.serve()
	left := f.envoy(c, "edge-left", "--node-label", "side=left")
	right := f.envoy(c, "edge-right", "--node-label", "side=right")
	loads := []*harness.Load{left.load("web", "x-side"), right.load("web", "x-side")}
	f.seen(loads[0], left.Started, "x-side", "left")
	f.seen(loads[1], right.Started, "x-side", "right")

	start := f.write("left.yaml", filter("left", f.module(wasmtest.Filter{Header: "x-side", Value: "new"}), "attach: {nodes: {labels: {side: left}}}"))
	f.seen(loads[0], start, "x-side", "new")
	for i, other := range []string{"right", "left"} {
		f.good(loads[i])
		if !loads[i].LastSeen("x-side", other).IsZero() {
			t.Errorf("an Envoy ran the filter of the %s one", other)
		}
	}
	if _, err := loads[1].Seen("x-side", "new"); err == nil {
		t.Error("the change came to the wrong Envoy")
	}
}
