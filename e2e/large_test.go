package e2e

import (
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestLargeModule: an Envoy loads the largest module that xds-server serves,
// and keeps that filter when the next is too large.
func TestLargeModule(t *testing.T) {
	const limit = 64 << 20 // as serve has it
	for _, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			f := newFleet(t)
			f.write("web.yaml", f.listener("web"))
			f.hello("small")
			f.serve()
			e := f.envoy(combination{envoy, "delta"}, "edge-1")
			l := e.load("web", "x-hello")
			f.seen(l, e.Started, "x-hello", "small")
			start := f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "large", Size: limit})))
			t.Logf("%d bytes: %v", limit, f.seen(l, start, "x-hello", "large"))
			f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "larger", Size: limit + 1})))
			f.eventually(func() error {
				_, err := f.refused("edge-1", "hello")
				return err
			})
			e.runs("hello")
			f.good(l)
		})
	}
}
