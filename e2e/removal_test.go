package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"wasmxds/e2e/wasmtest"
)

// TestEmptiedDirectory: the directory is empty from one moment to the next, as
// when a volume is not mounted, and while xds-server starts. Envoys go on, and
// one that starts gets all.
func TestEmptiedDirectory(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		names := []string{"one", "two", "three"}
		for _, name := range names {
			f.write(name+".yaml", filter(name, f.module(wasmtest.Filter{Header: "x-" + name, Value: "1"})))
		}
		f.serve()
		e := f.envoy(c, "edge-1")
		l := e.load("web", headersOf(names)...)
		f.seen(l, e.Started, "x-three", "1")
		e.runs("three")

		must(t, os.Rename(f.definitions, f.definitions+".away"))
		must(t, os.Mkdir(f.definitions, 0o755))
		f.eventually(func() error { return f.complains("4 of 4 definitions would be removed") })
		f.restartServer()
		f.eventually(func() error { return f.complains("4 of 4 definitions would be removed") })
		fresh := f.envoy(c, "edge-2")
		l2 := fresh.load("web", headersOf(names)...)
		f.seen(l2, fresh.Started, "x-three", "1")

		must(t, os.Remove(f.definitions))
		must(t, os.Rename(f.definitions+".away", f.definitions))
		f.eventually(func() error { return f.complains("") })
		start := f.write("one.yaml", filter("one", f.module(wasmtest.Filter{Header: "x-one", Value: "2"})))
		f.seen(l, start, "x-one", "2")
		f.good(l)
		f.good(l2)
	})
}

// complains is nil when the status has an error with these words, in where it is or in
// what it says; "": when it has none.
func (f *fleet) complains(words string) error {
	status, err := f.server.Status(f.ctx)
	if err != nil {
		return err
	}
	for _, p := range status.Definitions.Errors {
		if words != "" && strings.Contains(p.File+": "+p.Message, words) {
			return nil
		}
	}
	if words == "" && len(status.Definitions.Errors) == 0 {
		return nil
	}
	return fmt.Errorf("the status has %+v", status.Definitions.Errors)
}
