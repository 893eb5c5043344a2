package e2e

import (
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestRefusedAndFresh: an Envoy that starts while the others refuse a module
// gets the one that was good.
func TestRefusedAndFresh(t *testing.T) {
	f := newFleet(t)
	f.write("web.yaml", f.listener("web"))
	f.hello("good")
	f.serve()
	e := f.envoy(newest(), "edge-1")
	l := e.load("web", "x-hello")
	f.seen(l, e.Started, "x-hello", "good")
	e.runs("hello")
	f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "bad", Fault: wasmtest.RejectConfigure}), "verify: abi"))
	e.state("hello", "failed")
	fresh := f.envoy(newest(), "edge-2")
	l2 := fresh.load("web", "x-hello")
	f.seen(l2, fresh.Started, "x-hello", "good")
	f.good(l)
	f.good(l2)
}
