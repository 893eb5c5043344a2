package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// busyListener is a listener at an address that only one process can have.
func busyListener(address, body string) string {
	host, port, _ := net.SplitHostPort(address)
	return fmt.Sprintf(`"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: busy
address: {socket_address: {address: %s, port_value: %s}}
enable_reuse_port: false
filter_chains:
- filters:
  - name: envoy.filters.network.direct_response
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config
      response: {inline_string: %q}
`, host, port, body)
}

// TestRejectsBesides: an Envoy that rejects a listener of the base for good, because its port
// is in use there, has a change of a filter in its wave, also when the server restarts in
// between. The change is done, and a change of that listener is stopped.
func TestRejectsBesides(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		port, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		busy := port.Addr().String()
		must(t, port.Close())

		r := &rolling{fleet: newFleet(t), load: shop}
		r.load.Headers = []string{"x-hello"}
		r.write("policy.yaml", "kind: Rollout\nname: careful\nwaves: [1, 100%]\nbake: 1s\nstop: "+atOnceAlone+"\n")
		r.write("web.yaml", r.routed("/shop"))
		r.write("busy.yaml", busyListener(busy, "first"))
		r.write("hello.yaml", filter("hello", r.module(goodFilter), "attach: {listeners: [web]}"))
		r.serve()
		r.start(c, "edge-1").address("busy") // the next one finds the port in use
		r.start(c, "edge-2")
		for _, e := range r.edges {
			r.serves(e)
		}
		r.eventually(func() error { return r.rejectsBusy("edge-2") })

		for i, value := range []string{"second", "third"} {
			written := r.write("hello.yaml", filter("hello", r.module(wasmtest.Filter{Header: "x-hello", Value: value}), "attach: {listeners: [web]}"))
			for wave := 1; i == 1 && wave <= 2; wave++ {
				r.eventually(func() error { return r.inWave("hello", written, wave) })
				r.restartServer()
			}
			change := r.ended("hello", written)
			if change.State != "done" {
				t.Fatalf("the change is %s", change.Words)
			}
			t.Logf("done after %v: %s", change.Ended.Sub(written).Round(time.Millisecond), change.Words)
			for _, l := range r.loads {
				r.seen(l, written, "x-hello", value)
			}
			for _, e := range r.edges {
				e.runs("hello")
			}
			r.eventually(func() error { return r.rejectsBusy("edge-2") })
		}

		change := r.ended("busy", r.write("busy.yaml", busyListener(busy, "second")))
		if change.State != "stopped" || !strings.Contains(change.Words, "edge-2 rejected listener busy") {
			t.Errorf("the change of the listener that an Envoy rejects is %s: %s", change.State, change.Words)
		}
		for _, l := range r.loads {
			r.good(l)
		}
	})
}

// rejectsBusy looks whether the status tells that this Envoy alone rejects the listener.
func (r *rolling) rejectsBusy(id string) error {
	status, err := r.server.Status(r.t.Context())
	if err != nil {
		return err
	}
	for _, n := range status.Nodes {
		rejects := false
		for _, l := range n.Listeners {
			rejects = rejects || l.Name == "busy" && l.Running == "" && strings.Contains(l.Reason, "Envoy rejected it")
		}
		if rejects != (n.ID == id) {
			return fmt.Errorf("%s: %+v", n.ID, n.Listeners)
		}
	}
	if len(status.Nodes) != len(r.edges) {
		return fmt.Errorf("the status has %d Envoys", len(status.Nodes))
	}
	return nil
}

// inWave looks whether a change has come as far as a wave.
func (r *rolling) inWave(title string, since time.Time, wave int) error {
	change, err := r.server.Newest(r.t.Context(), title, since.Add(-time.Second))
	if err == nil && change.Wave < wave && change.State == "rolling" {
		err = fmt.Errorf("%s: %s", change.Title, change.Words)
	}
	return err
}

// ended waits for the end of a change.
func (r *rolling) ended(title string, since time.Time) (change harness.Change) {
	r.t.Helper()
	r.eventually(func() (err error) {
		if change, err = r.server.Newest(r.t.Context(), title, since.Add(-time.Second)); err == nil && change.State != "done" && change.State != "stopped" {
			err = fmt.Errorf("%s is %s: %s", title, change.State, change.Words)
		}
		return err
	})
	return change
}
