package e2e

import (
	"sync"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// What a policy looks at: the share of requests that fail, or how long half of them take.
// Of the slowest, which a policy looks at that does not say which, a machine that has much
// else to do tells nothing for many minutes.
const (
	errorsAlone  = "{latency: {more: 10000%}}"
	latencyAlone = "{errors: {more: 100%}, latency: {p: 50}}"
)

// badInRequests are those that only many requests tell, beside what the other Envoys
// do.
var badInRequests = []struct {
	bad
	path  string // of the requests
	looks string
}{
	{bad{name: "5 % of the requests are answered 500", write: badFilter(wasmtest.ErrorEvery, 20)}, "/shop", errorsAlone},
	{bad{name: "some requests are answered 403", write: badFilter(wasmtest.DenyEvery, 5)}, "/shop", errorsAlone},
	{bad{name: "a route is gone", write: func(r *rolling) string {
		r.write("web.yaml", r.routed("/shopping"))
		return "web"
	}}, "/shop", errorsAlone},
	{bad{name: "requests take half as long again", write: badFilter(wasmtest.SlowDown, 6000)}, "/shop?stream=1&pause=2ms", latencyAlone},
}

// TestStoppedByRequests: so are those that are seen in what requests are answered,
// and how soon. The Envoys are watched for two minutes before that, or more where little
// is known of them by then; all these fleets at the same time, as they mostly wait.
func TestStoppedByRequests(t *testing.T) {
	var starting sync.Mutex
	eachOnce(t, func(t *testing.T, c combination) {
		t.Parallel()
		for _, b := range badInRequests {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				start := func() *rolling {
					starting.Lock() // it takes a core
					defer starting.Unlock()
					load := harness.LoadConfig{Path: b.path, Pause: 50 * time.Millisecond}
					return roll(t, c, 3, load, "waves: [1]\nbake: 10m\nstop: "+b.looks+"\n")
				}
				start().stops(t, b.bad, 15*time.Minute)
			})
		}
		if c != newest() && !*all {
			return
		}
		plays := map[string]func(*testing.T, *elsewhere){"at the other of two servers": stoppedElsewhere, "by the next server that leads": stoppedByNext}
		if *all { // it takes as long as all others together
			plays["nothing of a good one"] = goodElsewhere
		}
		for name, play := range plays {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				start := func() *elsewhere {
					starting.Lock()
					defer starting.Unlock()
					r := serveElsewhere(t, harness.LoadConfig{Path: "/shop", Pause: 50 * time.Millisecond})
					r.envoy(c, "edge-1", leads, follows)
					r.envoy(c, "edge-2", follows, follows) // the first wave, by its id
					r.envoy(c, "edge-3", follows, leads)
					return r
				}
				play(t, start())
			})
		}
	})
}
