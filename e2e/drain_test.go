package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"wasmxds/admin"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/xds/swap"
)

// TestWaitDrained: where a listener is replaced, the status tells of connections
// that were opened before and go without the new filter, for as long as there are
// any, and --wait=drained comes back when there are none.
func TestWaitDrained(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		const drainTime = 10 * time.Second // what is looked at meanwhile may take some
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("there")
		f.serve("--spare-slots", "0")
		bootstrap, err := f.server.Bootstrap(f.ctx, "edge-1", "--protocol", c.protocol, "--drain-time", drainTime.String())
		must(t, err)
		e := f.envoyOf("edge-1", harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap,
			Args: []string{"--drain-time-s", fmt.Sprint(drainTime.Seconds())}})
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "there")
		e.runs("hello")
		if hello, web := e.draining("hello", "web"); hello != nil || web != nil {
			t.Errorf("nothing was replaced, and yet: %+v, %+v", hello, web)
		}
		quiet := harness.OpenConnections(f.ctx, harness.ConnectionsConfig{Address: e.address("web"), Header: "x-hello", HTTP1: 2, HTTP2: 2, Once: true})
		t.Cleanup(quiet.Stop)
		f.eventually(func() error { return answered(quiet, 4) })

		start := f.write("extra.yaml", filter("extra", f.module(wasmtest.Filter{Header: "x-extra", Value: "new"})))
		f.seen(l, start, "x-extra", "new")
		e.runs("extra")
		extra, web := e.draining("extra", "web")
		for what, d := range map[string]*swap.Draining{"the filter": extra, "the listener": web} {
			if d == nil || d.Since.Before(start) || d.Until.Sub(d.Since).Round(time.Millisecond) != drainTime {
				t.Fatalf("the status tells of %s: %+v, want %v from then on", what, d, drainTime)
			}
		}
		if hello, _ := e.draining("hello", "web"); hello != nil {
			t.Errorf("all connections have the filter that was there before, and yet: %+v", hello)
		}
		f.await("--filter", "extra") // does not wait for that
		if left := len(open(quiet, start)); left != 4 {
			t.Fatalf("%d of 4 connections are left: the scene shows nothing", left)
		}

		_, err = f.server.Run(f.ctx, append(f.statusArgs(), "--wait=drained", "--filter", "extra", "--timeout", patience.String())...)
		must(t, err)
		if left := open(quiet, start); len(left) > 0 {
			t.Errorf("--wait=drained came back with %d older connections open", len(left))
		}
		if extra, web := e.draining("extra", "web"); extra != nil || web != nil {
			t.Errorf("all is drained, and yet: %+v, %+v", extra, web)
		}
		f.good(l)
	})
}

// TestWaitDrainedByTime: of a listener that has no HTTP filters nothing shows when
// it is drained; what counts is the time that the Envoy's node metadata tell.
func TestWaitDrainedByTime(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		const drainTime = 10 * time.Second // what is looked at meanwhile may take some
		f := newFleet(t)
		plain := func(stats string) string {
			return fmt.Sprintf(plainListener, stats, f.upstreamCluster())
		}
		f.write("plain.yaml", plain("one"))
		f.serve()
		bootstrap, err := f.server.Bootstrap(f.ctx, "edge-1", "--protocol", c.protocol, "--drain-time", drainTime.String())
		must(t, err)
		e := f.envoyOf("edge-1", harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap,
			Args: []string{"--drain-time-s", fmt.Sprint(drainTime.Seconds())}})
		quiet := harness.OpenConnections(f.ctx, harness.ConnectionsConfig{Address: e.address("plain"), Header: "x", HTTP1: 2, Once: true})
		t.Cleanup(quiet.Stop)
		f.eventually(func() error { return answered(quiet, 2) })

		start := f.write("plain.yaml", plain("two"))
		var d *swap.Draining
		f.eventually(func() error {
			if _, d = e.draining("", "plain"); d == nil {
				return errors.New("it is not told to be drained")
			}
			return nil
		})
		if d.Since.Before(start) || d.Until.Sub(d.Since).Round(time.Millisecond) != drainTime {
			t.Errorf("the status tells of %+v, want %v from %v on", d, drainTime, start)
		}
		_, err = f.server.Run(f.ctx, append(f.statusArgs(), "--wait=drained", "--timeout", patience.String())...)
		must(t, err)
		if left := open(quiet, start); len(left) > 0 {
			t.Errorf("--wait=drained came back with %d older connections open", len(left))
		}
	})
}

const plainListener = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: plain
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: envoy.filters.network.tcp_proxy
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
      stat_prefix: %s
      cluster: upstream
---
%s`

// draining is what the status tells of a filter and a listener of this Envoy.
func (e *edge) draining(filter, listener string) (ofFilter, ofListener *swap.Draining) {
	e.f.t.Helper()
	out, err := e.f.server.Run(e.f.ctx, append(e.f.statusArgs(), "-o", "json")...)
	must(e.f.t, err)
	var st admin.Status
	must(e.f.t, json.Unmarshal(out, &st))
	for _, n := range st.Nodes {
		for _, f := range n.Filters {
			if n.ID == e.id && f.Name == filter {
				ofFilter = f.Draining
			}
		}
		for _, l := range n.Listeners {
			if n.ID == e.id && l.Name == listener {
				ofListener = l.Draining
			}
		}
	}
	return ofFilter, ofListener
}

func answered(l *harness.Connections, want int) error {
	got := len(l.Exchanges(0))
	if got != want {
		return fmt.Errorf("%d requests, want %d", got, want)
	}
	return nil
}

// open are those connections that were opened before a time, and are still.
func open(l *harness.Connections, before time.Time) []harness.Connection {
	var left []harness.Connection
	for _, o := range l.Opened() {
		if o.Opened.Before(before) && o.Closed.IsZero() {
			left = append(left, o)
		}
	}
	return left
}
