package module

import (
	"strings"
	"testing"

	"wasmxds/definition"
	"wasmxds/e2e/wasmtest"
)

// TestPlace checks that a module without callbacks for the place of its filter
// is not served, whether it is tried or not, with a hint.
func TestPlace(t *testing.T) {
	logs := wasmtest.Function{Name: "proxy_on_log", Params: 1}
	http := wasmtest.Filter{Header: "x-http", Value: "1"}
	network := wasmtest.Filter{Network: true, Value: "1"}
	both := wasmtest.Filter{Header: "x-both", Value: "1", Exports: []wasmtest.Function{{Name: "proxy_on_upstream_data", Params: 3, Results: 1}}}
	logging := wasmtest.Filter{Network: true, Value: "1", Exports: []wasmtest.Function{logs}}
	service := definition.Place{At: definition.Service}
	inChain, logger := definition.Place{Network: true}, definition.Place{At: definition.Logger}
	for name, test := range map[string]struct {
		module wasmtest.Filter
		place  definition.Place
		hint   string // of the error; "": it is accepted
	}{
		"HTTP":               {module: http},
		"HTTP as network":    {module: http, place: inChain, hint: "leave network out of its place"},
		"HTTP as logger":     {module: http, place: logger, hint: "leave place out"},
		"network":            {module: network, place: inChain},
		"network as HTTP":    {module: network, hint: "place: network"},
		"network as logger":  {module: network, place: logger, hint: "leave place out"},
		"both as HTTP":       {module: both},
		"both as network":    {module: both, place: inChain},
		"it only logs":       {module: logging},
		"it logs as logger":  {module: logging, place: logger},
		"network as service": {module: network, place: service},
		"it logs as network": {module: logging, place: inChain},
	} {
		t.Run(name, func(t *testing.T) {
			content := test.module.Module()
			origin := newOrigin(t, gives(content))
			f := pinned("a", origin.URL, content)
			f.Place, f.Verify = test.place, definition.VerifyABI
			r := resolve(t, Options{})
			update := r.set(f)
			got := update.Filters[0]
			for got.State == Fetching {
				got = r.next(func(s *Set) bool { return s.Filters[0].State != Fetching }).Filters[0]
			}
			if (got.State == Good) != (test.hint == "") {
				t.Fatalf("%s: %s", got.State, got.Reason)
			}
			problems := r.last.Problems
			if test.hint != "" && (len(problems) != 1 || !strings.Contains(problems[0].Hint, test.hint)) {
				t.Errorf("problems %v", problems)
			}
		})
	}
}
