package resource

import (
	"strings"
	"testing"

	"wasmxds/definition"
)

// TestSignalsAreTheirListenersVersion checks that the loggers' existence and
// destination are part of the version of a listener that has them, and of no
// other.
func TestSignalsAreTheirListenersVersion(t *testing.T) {
	set, _ := read(t, "testdata/signals.yaml")
	versions := func(signals string, headers ...string) map[string]string {
		o := opts
		o.Signals, o.RecordHeaders = signals, strings.Join(headers, ",")
		c, problems := Compile(nil, Sets{Base: set}, o)
		for _, p := range problems.Base {
			t.Fatal(p)
		}
		versions := map[string]string{}
		for _, l := range c.Snapshot(definition.Node{ID: "edge-1"}, "").Listeners {
			versions[l.Name] = l.Version
		}
		return versions
	}
	without, with, elsewhere := versions(""), versions("wasmxds"), versions("xds")
	recorded := versions("wasmxds", "x-a", "x-b")
	for _, name := range []string{"web", "raw"} {
		if without[name] == with[name] || with[name] == elsewhere[name] {
			t.Errorf("listener %s is %q without loggers, %q with them, %q with loggers to another cluster", name, without[name], with[name], elsewhere[name])
		}
	}
	if recorded["web"] == with["web"] {
		t.Errorf("listener web is %q with headers to log, too", with["web"])
	}
	if without["tcp"] != with["tcp"] {
		t.Errorf("listener tcp, which has no loggers, is %q and %q", without["tcp"], with["tcp"])
	}
}
