package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/steadyclock"
	"wasmxds/e2e/wasmtest"
)

// dayOld is a fleet with one Envoy whose clock can be put ahead.
type dayOld struct {
	*fleet
	c     combination
	clock *steadyclock.Clock
	edge  *edge
	load  *harness.Load
	days  int
}

// start starts a server and the Envoy.
func (d *dayOld) start() {
	d.t.Helper()
	d.serve()
	var err error
	d.clock, err = steadyclock.New(filepath.Join(d.dir, "clock.so"))
	must(d.t, err)
	// Envoy's watchdog would take the leap for a thread that hangs.
	bootstrap, err := d.server.Bootstrap(d.ctx, "edge-1", "--protocol", d.c.protocol, "--hang-timeout", "0")
	must(d.t, err)
	d.edge = d.envoyOf("edge-1", harness.EnvoyConfig{Binary: d.c.envoy, Bootstrap: bootstrap, Env: []string{d.clock.Env()}})
}

// fresh writes the next version of the filter "fresh".
func (d *dayOld) fresh() {
	d.t.Helper()
	d.days++
	d.write("fresh.yaml", filter("fresh", d.module(wasmtest.Filter{Header: "x-fresh", Value: fmt.Sprint(d.days)})))
}

// day lets a day pass. Then Envoy loads a new module, and drops all others from its cache.
// The server starts anew: by its own clock, no day has passed since it last sent a module.
func (d *dayOld) day() {
	d.t.Helper()
	must(d.t, d.clock.Advance(25*time.Hour))
	d.restartServer()
	d.fresh()
	d.seen(d.load, time.Now(), "x-fresh", fmt.Sprint(d.days))
	d.done()
}

// done waits until Envoy runs all that is wanted.
func (d *dayOld) done() {
	d.t.Helper()
	d.eventually(func() error {
		status, err := d.server.Status(d.t.Context())
		if err != nil {
			return err
		}
		return status.Done()
	})
}

// version is that of a listener, as Envoy has it.
func (d *dayOld) version(listener string) (string, error) {
	status, err := d.server.Status(d.t.Context())
	if err != nil {
		return "", err
	}
	for _, n := range status.Nodes {
		for _, l := range n.Listeners {
			if l.Name == listener {
				return l.Running, nil
			}
		}
	}
	return "", fmt.Errorf("no listener %s", listener)
}

// replace writes a listener and waits until Envoy has another version of it.
func (d *dayOld) replace(listener, text string) {
	d.t.Helper()
	var was string
	d.eventually(func() (err error) {
		was, err = d.version(listener)
		return err
	})
	d.write(listener+".yaml", text)
	d.eventually(func() error {
		is, err := d.version(listener)
		if err == nil && is == was {
			err = fmt.Errorf("listener %s is as before", listener)
		}
		return err
	})
}

// rejected has the lines of the server's log that tell people of a rejection.
func (d *dayOld) rejected() error {
	log, err := os.ReadFile(d.server.Log())
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "Envoy rejects") {
			err = errors.Join(err, errors.New(line))
		}
	}
	return err
}

// configured is the filter "old" or "older" with a configuration, which it adds as its header.
func configured(name, module, config string) string {
	return filter(name, module, "config: "+config, "verify: abi")
}

// TestModulesOfADay: a day after Envoy has last looked for its modules in its cache, it
// drops them as it loads another. It then rejects whatever is sent that needs them. No
// request fails for that, no change is stopped, and nothing is reported as rejected.
func TestModulesOfADay(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		d := &dayOld{fleet: newFleet(t), c: c}
		web := d.listener("web", fmt.Sprintf("- {name: other, prefix: /other, upstream: %q}", d.upstream.Address()))
		old := d.module(wasmtest.Filter{Header: "x-old", FromConfig: true})
		older := d.module(wasmtest.Filter{Header: "x-older", FromConfig: true, Value: "of another module"})
		d.write("web.yaml", web)
		d.write("old.yaml", configured("old", old, "one"))
		d.write("older.yaml", configured("older", older, "one"))
		d.write("policy.yaml", "kind: Rollout\nname: careful\nwaves: [1]\nbake: 0s\nstop: {refused: 1}\n")
		d.fresh()
		d.start()
		headers := []string{"x-old", "x-older", "x-fresh"}
		d.load = d.edge.load("web", headers...)
		other := harness.StartLoad(d.ctx, harness.LoadConfig{Address: d.edge.address("web"), Path: "/other", Headers: headers})
		t.Cleanup(func() { other.Stop() })
		d.seen(d.load, d.edge.Started, "x-fresh", "1")
		d.done()

		step := func(what string, change func()) {
			t.Helper()
			d.day()
			begin := time.Now()
			change()
			d.done()
			t.Logf("%s after %v", what, time.Since(begin).Round(time.Millisecond))
		}
		step("a listener is replaced", func() { d.replace("web", web+"accessLog: json\n") })
		step("a filter comes", func() {
			d.write("new.yaml", filter("new", d.module(wasmtest.Filter{Header: "x-new", Value: "1"})))
			d.seen(d.load, time.Now(), "x-new", "1")
		})
		step("two filters change", func() {
			d.write("old.yaml", configured("old", old, "two"))
			d.write("older.yaml", configured("older", older, "two"))
			d.seen(d.load, time.Now(), "x-old", "two")
			d.seen(d.load, time.Now(), "x-older", "two")
		})
		step("a route gets a variant", func() {
			web = strings.Replace(web, "prefix: /other,", "prefix: /other, filters: {old: {config: three}},", 1)
			d.write("web.yaml", web+"accessLog: json\n")
			d.seen(other, time.Now(), "x-old", "three")
		})
		step("a listener is replaced while a server is away", func() {
			d.server.Kill()
			d.write("web.yaml", web)
			d.restartServer()
		})
		must(t, d.rejected())
		t.Log(d.good(d.load), d.good(other))
	})
}

// TestNetworkModuleOfADay: the same with a network filter. A TCP listener that is replaced
// has no routes to wait for, so it closes connections until Envoy has fetched the module;
// then it serves, and at no time without the filter.
func TestNetworkModuleOfADay(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		d := &dayOld{fleet: newFleet(t), c: c}
		tcp := func(upstream string) string {
			return fmt.Sprintf("kind: Listener\nname: db\naddress: 127.0.0.1:0\ntcp: {upstream: %q}\n", upstream)
		}
		d.write("db.yaml", tcp(echoTCP(t)))
		d.tap("tap", "[1]", "attach: {listeners: [db]}")
		d.write("web.yaml", d.listener("web"))
		d.fresh()
		d.start()
		d.load = d.edge.load("web", "x-fresh")
		d.meet(d.edge.connections("db", 0), d.edge.Started, "[1]")
		d.day()
		load := d.edge.connections("db", 0)
		d.replace("db", tcp(echoTCP(t)))
		d.done()
		replaced := load.Stop()

		load = d.edge.connections("db", 2)
		d.meet(load, time.Now(), "[1]")
		counts := load.Stop()
		t.Logf("meanwhile: %v; then: %v; %v", replaced, counts, d.good(d.load))
		if replaced.Unfiltered+replaced.Changed > 0 || counts.Bad() > 0 {
			t.Error("connections passed without the filter, or go on being closed")
		}
		must(t, d.rejected())
	})
}
