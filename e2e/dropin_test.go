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
	d := &day{fleet: newFleet(t)}
	d.byConfig = d.module(wasmtest.Filter{Header: "x-hello", FromConfig: true})
	d.write("web.yaml", d.listener("web"))
	d.write("hello.yaml", filter("hello", d.byConfig, "config: first"))
	d.serve()
	d.e = d.envoy(c, "edge-1")
	d.l = d.e.load("web", "x-hello") // from the moment that the port is there
	d.second = filter("second", d.module(wasmtest.Filter{Header: "x-second", Value: "there"}), "order: 20")

	d.scene(t, "first request", func(t *testing.T) {
		t.Logf("Envoy started → first header: %v", d.seen(d.l, d.e.Started, "x-hello", "first"))
		d.e.ready()
		d.e.runs("hello")
	})
	d.scene(t, "changed config", func(t *testing.T) {
		t.Logf("file written → new header: %v", changes(d.fleet, d.l, func(value string) time.Time {
			return d.write("hello.yaml", filter("hello", d.byConfig, "config: "+value))
		}))
	})
	d.scene(t, "changed module", func(t *testing.T) {
		t.Logf("file written → new header: %v", changes(d.fleet, d.l, func(value string) time.Time {
			url := d.module(wasmtest.Filter{Header: "x-hello", Value: value})
			return d.write("hello.yaml", filter("hello", url))
		}))
	})
	d.scene(t, "second filter", func(t *testing.T) {
		start := d.write("second.yaml", d.second)
		t.Logf("file written → new header: %v", d.seen(d.l, start, "x-second", "there"))
		d.e.runs("second")
	})
	d.scene(t, "broken file", d.brokenFile)
	d.scene(t, "server restarted", d.serverRestarted)
	d.scene(t, "filter removed", d.filterRemoved)
	t.Logf("%v; p50 %v", d.good(d.l), d.l.Latency(0.5))
}

// day is what the scenes of TestDropIn share.
type day struct {
	*fleet
	e                *edge
	l                *harness.Load
	byConfig, second string // URL of a module; definition of the second filter
}

// scene plays one; up to its end no request may have failed.
func (d *day) scene(t *testing.T, name string, play func(t *testing.T)) {
	t.Helper()
	ok := t.Run(name, func(t *testing.T) {
		outer := d.t
		d.t = t
		defer func() { d.t = outer }()
		play(t)
		if n := d.l.Counts(); n.Bad() > 0 {
			t.Errorf("until here: %v", n)
		}
	})
	if !ok {
		t.FailNow()
	}
}

// brokenFile: what is in it, and beside it, goes on.
func (d *day) brokenFile(t *testing.T) {
	d.write("hello.yaml", "kind: WasmFilter\nname: hello\nmodul: {}\n")
	d.eventually(func() error {
		status, err := d.server.Status(t.Context())
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
	d.write("second.yaml", d.second+"config: changed\n")
	d.eventually(func() error {
		extensions, err := d.e.Extensions(t.Context())
		if got := extensions["second"].Config; err == nil && got != "changed" {
			err = fmt.Errorf("Envoy runs the second filter with config %q", got)
		}
		return err
	})
	start := d.write("hello.yaml", filter("hello", d.byConfig, "config: mended"))
	d.seen(d.l, start, "x-hello", "mended")
}

// serverRestarted: nothing is fetched or sent again, and changes are seen.
func (d *day) serverRestarted(t *testing.T) {
	d.e.runs("hello")
	_, before, err := d.e.Answers(t.Context(), modulesCluster)
	must(t, err)
	updates, err := d.e.Stats(t.Context(), `\.(config_reload|update_success)$`)
	must(t, err)
	d.restartServer()
	d.e.runs("hello")
	d.e.runs("second")
	_, after, err := d.e.Answers(t.Context(), modulesCluster)
	must(t, err)
	if after != before {
		t.Errorf("%d modules were fetched again", after-before)
	}
	again, err := d.e.Stats(t.Context(), `\.(config_reload|update_success)$`)
	must(t, err)
	for name, n := range again {
		if n != updates[name] {
			t.Errorf("%s: %d, was %d: something was sent again", name, n, updates[name])
		}
	}
	start := d.write("hello.yaml", filter("hello", d.byConfig, "config: restarted"))
	d.seen(d.l, start, "x-hello", "restarted")
}

func (d *day) filterRemoved(*testing.T) {
	d.remove("second.yaml")
	d.eventually(func() error {
		if last := d.l.LastSeen("x-second", "there"); time.Since(last) < 100*time.Millisecond {
			return fmt.Errorf("the removed filter still ran at %v", last)
		}
		return nil
	})
	d.e.runs("hello")
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
