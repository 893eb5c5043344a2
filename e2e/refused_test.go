package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestRefusedTakesNoOther: Envoy builds a listener from the newest content of
// each of its slots, also from one that it has refused, and then refuses the
// listener. A module that an Envoy refuses must not keep it from getting other
// filters.
func TestRefusedTakesNoOther(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("listeners.yaml", f.listener("web")+"---\n"+f.listener("other"))
		f.write("good.yaml", filter("good", f.module(wasmtest.Filter{Header: "x-good", Value: "1"}), "attach: {listeners: [web]}"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-good")
		f.seen(l, e.Started, "x-good", "1")

		refused := wasmtest.Filter{Header: "x-bad", Value: "bad", Fault: wasmtest.RejectConfigure}
		f.write("bad.yaml", filter("bad", f.module(refused), "verify: abi", "attach: {listeners: [other]}"))
		f.eventually(func() error {
			_, err := f.refused("edge-1", "bad")
			return err
		})
		// One after the other, each changes the primer while the refused one
		// is in it.
		for i, name := range []string{"second", "third"} {
			start := f.write(name+".yaml", filter(name, f.module(wasmtest.Filter{Header: "x-" + name, Value: "1"}), "attach: {listeners: [web]}"))
			f.seen(l, start, "x-"+name, "1")
			e.runs(name)
			start = f.write("good.yaml", filter("good", f.module(wasmtest.Filter{Header: "x-good", Value: fmt.Sprint(i + 2)}), "attach: {listeners: [web]}"))
			f.seen(l, start, "x-good", fmt.Sprint(i+2))
		}
		f.remove("bad.yaml")
		start := f.write("good.yaml", filter("good", f.module(wasmtest.Filter{Header: "x-good", Value: "last"}), "attach: {listeners: [web]}"))
		f.seen(l, start, "x-good", "last")
		f.good(l)
	})
}

// TestRefusedResources: a listener and a cluster that Envoy refuses, though
// they are valid messages, are told of in the status and keep nothing else
// away.
func TestRefusedResources(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("bad.yaml", `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: bad-listener
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: nobody.has.this
    typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}
---
"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: another
address: {socket_address: {address: 127.0.0.2, port_value: 0}}
filter_chains:
- filters:
  - name: nobody.has.that
    typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}
---
"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: bad-cluster
connect_timeout: 1s
cluster_type: {name: nobody.has.this, typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}}
`)
		f.write("web.yaml", f.listener("web"))
		f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "1"}), "attach: {listeners: [web]}"))
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "1")
		start := f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "2"}), "attach: {listeners: [web]}"))
		f.seen(l, start, "x-hello", "2")
		f.write("other.yaml", f.listener("other"))
		f.eventually(func() error {
			_, err := e.Listener(t.Context(), "other")
			return err
		})
		f.good(l)

		// Envoy names each listener that it refuses, and no other, on a line of its own.
		body, err := f.server.Get(t.Context(), "/api/v1/status")
		must(t, err)
		var status struct {
			Nodes []struct {
				NACKs []struct{ Type, Message string }
			}
		}
		must(t, json.Unmarshal(body, &status))
		named := map[string]bool{}
		for _, n := range status.Nodes[0].NACKs {
			lines, ok := strings.CutPrefix(n.Message, "Error adding/updating listener(s) ")
			if !ok {
				continue
			}
			for line := range strings.Lines(lines) {
				name, reason, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
				if named[name] = true; !strings.HasSuffix(line, "\n") || reason == "" {
					t.Errorf("a line of the NACK is %q", line)
				}
			}
		}
		if want := map[string]bool{"bad-listener": true, "another": true}; !maps.Equal(named, want) {
			t.Errorf("NACKs name %v, want %v: %s", named, want, body)
		}
	})
}
