package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
)

// TestFilterTests: a filter whose tests fail reaches no Envoy, whether its module, its definition or
// its tests are new, nor does one that does not come back from a request; what runs goes on,
// and other filters change meanwhile.
func TestFilterTests(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		tests := func(expected string) {
			f.write("tests.yaml", fmt.Sprintf(`kind: FilterTest
filter: hello
cases:
- name: says hello
  before: [{}, {}]
  request: {path: /x}
  expect: {request: {headers: {x-hello: {contains: %s}}}, continues: true}
`, expected))
		}
		write := func(value string, m wasmtest.Filter) time.Time {
			m.Header, m.Value = "x-hello", value
			return f.write("hello.yaml", filter("hello", f.module(m)))
		}
		other := func(value string) time.Time {
			return f.write("other.yaml", filter("other", f.module(wasmtest.Filter{Header: "x-other", Value: value})))
		}
		tests("good")
		write("good-1", wasmtest.Filter{})
		other("1")
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello", "x-other")
		f.seen(l, e.Started, "x-hello", "good-1")
		f.seen(l, e.Started, "x-other", "1")

		refused := func(why ...string) {
			t.Helper()
			f.eventually(func() error {
				reason, err := f.refused("edge-1", "hello")
				for _, want := range append(why, "its tests fail") {
					if err == nil && !strings.Contains(reason, want) {
						err = fmt.Errorf("the reason is %q, without %q", reason, want)
					}
				}
				return err
			})
		}
		write("bad-2", wasmtest.Filter{})
		refused("tests.yaml:7", `says hello: got "bad-2"`, "it keeps running")
		f.seen(l, other("2"), "x-other", "2")

		write("good-3", wasmtest.Filter{Fault: wasmtest.SpinAt, At: 2})
		start := other("3")
		if took := f.seen(l, start, "x-other", "3"); took > 5*time.Second {
			t.Errorf("another filter came after %v, while tests did not end", took)
		}
		// What is written anew is not waited for.
		write("good-4", wasmtest.Filter{Fault: wasmtest.TrapAt, At: 3})
		refused("has crashed")

		f.seen(l, write("good-5", wasmtest.Filter{}), "x-hello", "good-5")
		e.runs("hello")
		tests("best") // of the filter as it is
		refused(`got "good-5", expected`)
		f.restartServer()
		refused(`got "good-5", expected`)
		f.seen(l, write("best-6", wasmtest.Filter{}), "x-hello", "best-6")
		e.runs("hello")
		t.Log(f.good(l))
		for _, value := range []string{"bad-2", "good-3", "good-4"} {
			if !l.LastSeen("x-hello", value).IsZero() {
				t.Errorf("%s ran", value)
			}
		}
	})
}
