package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// shop is a load of some hundred requests a second.
var shop = harness.LoadConfig{Path: "/shop"}

// rolling is a fleet of Envoys under load whose changes go in waves.
type rolling struct {
	*fleet
	load  harness.LoadConfig // on each Envoy
	edges []*edge
	loads []*harness.Load
	at    map[*edge]*harness.Server // that has an Envoy; nil: there is one server
}

// atOnceAlone is a policy's stop that looks at what an Envoy tells at once, and at nothing
// that takes many requests.
const atOnceAlone = "{errors: {more: 100%}, latency: {more: 10000%}}"

// goodFilter is what runs before a change, and after it.
var goodFilter = wasmtest.Filter{Header: "x-hello", Value: "good"}

// roll starts a fleet with a good filter, a server with these flags, and a load on each
// of its Envoys.
func roll(t *testing.T, c combination, envoys int, load harness.LoadConfig, policy string, args ...string) *rolling {
	t.Helper()
	r := &rolling{fleet: newFleet(t), load: load}
	r.write("policy.yaml", "kind: Rollout\nname: careful\n"+policy)
	r.write("web.yaml", r.routed("/shop"))
	r.write("hello.yaml", filter("hello", r.module(goodFilter)))
	r.serve(args...)
	for i := range envoys {
		r.start(c, fmt.Sprintf("edge-%d", i+1))
	}
	for _, e := range r.edges {
		r.serves(e)
	}
	return r
}

// start starts another Envoy of the fleet.
func (r *rolling) start(c combination, id string) *edge {
	r.t.Helper()
	e := r.envoy(c, id, "--hang-timeout", "3s")
	r.edges = append(r.edges, e)
	return e
}

// serves puts the load on an Envoy, which has the good filter.
func (r *rolling) serves(e *edge) {
	r.t.Helper()
	load := r.load
	load.Address = e.address("web")
	l := harness.StartLoad(r.ctx, load)
	r.t.Cleanup(func() { l.Stop() })
	r.seen(l, e.Started, "x-hello", "good")
	r.loads = append(r.loads, l)
}

// routed is the listener with a route for a path, and no other.
func (r *rolling) routed(prefix string) string {
	return fmt.Sprintf("kind: Listener\nname: web\naddress: 127.0.0.1:0\nroutes:\n- {prefix: %s, upstream: %q}\n", prefix, r.upstream.Address())
}

// bad is a change that ought not to reach a second Envoy.
type bad struct {
	name  string
	write func(r *rolling) (title string)
	// supervised Envoys are started again when they end, or take too much memory.
	supervised bool
}

// badFilter is a version of the filter that is not good.
func badFilter(fault wasmtest.Fault, at int, lines ...string) func(*rolling) string {
	return func(r *rolling) string {
		r.write("hello.yaml", filter("hello", r.module(wasmtest.Filter{Header: "x-hello", Value: "bad", Fault: fault, At: at}), lines...))
		return "hello"
	}
}

// badAtOnce are those that a single Envoy tells by itself, whatever the others do.
var badAtOnce = []bad{
	{name: "Envoy refuses it", write: badFilter(wasmtest.RejectConfigure, 0, "verify: abi")},
	{name: "it traps at the first request", write: badFilter(wasmtest.TrapAt, 1)},
	{name: "it traps at the thousandth request", write: badFilter(wasmtest.TrapAt, 1000)},
	{name: "it never returns from a request", write: badFilter(wasmtest.SpinAt, 100), supervised: true},
	{name: "it takes all memory", write: badFilter(wasmtest.Leak, 16), supervised: true},
	{name: "Envoy refuses a listener", write: func(r *rolling) string {
		r.write("web.yaml", r.routed("/shop")+"---\n"+refusedListener)
		return "bad-listener"
	}},
}

// refusedListener is a valid message that Envoy refuses.
const refusedListener = `"@type": type.googleapis.com/envoy.config.listener.v3.Listener
name: bad-listener
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: nobody.has.this
    typed_config: {"@type": type.googleapis.com/google.protobuf.StringValue, value: x}
`

// TestStopped: each bad change is stopped in its first wave, of one Envoy, and
// undone there; no other Envoy ever has it.
func TestStopped(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		r := roll(t, c, 3, shop, "waves: [1]\nbake: 1m\nstop: "+atOnceAlone+"\n")
		for _, b := range badAtOnce {
			t.Run(b.name, func(t *testing.T) { r.stops(t, b, patience) })
		}
	})
}

// stops writes a bad change and waits until it is stopped and undone.
func (r *rolling) stops(t *testing.T, b bad, within time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var restarts []func() int
	if b.supervised {
		for i, e := range r.edges {
			restarts = append(restarts, supervise(ctx, t, e, r.loads[i]))
		}
	}
	before := r.counts()
	written := time.Now()
	title := b.write(r)
	var change harness.Change
	must(t, harness.Poll(ctx, 2*within, func() (err error) {
		if change, err = r.server.Newest(ctx, title, written.Add(-time.Second)); err == nil && change.State != "stopped" {
			err = fmt.Errorf("not stopped: %s", change.Words)
		}
		return err
	}))
	stopped := time.Now()
	if change.Wave != 1 {
		t.Errorf("it was stopped in wave %d", change.Wave)
	}
	must(t, harness.Poll(ctx, within, func() error {
		for _, e := range r.edges {
			status, err := cmp.Or(r.at[e], r.server).Status(ctx)
			if err != nil {
				return err
			}
			at, err := status.Filter(e.id, "hello")
			if err != nil || at.State != "running" {
				return fmt.Errorf("%s: %+v, %v", e.id, at, err)
			}
		}
		return nil
	}))
	back := time.Now()
	cancel()
	exposed := 0
	for i, l := range r.loads {
		now := l.Counts()
		harm := now.Failed + now.Refused - before[i].Failed - before[i].Refused
		all := now.Requests + now.Refused - before[i].Requests - before[i].Refused
		had := !l.LastSeen("x-hello", "bad").Before(written)
		if had || harm > 0 {
			exposed++
			t.Logf("%s: %d of %d requests suffered", r.edges[i].id, harm, all)
		}
	}
	if exposed > 1 {
		t.Errorf("%d Envoys suffered", exposed)
	}
	for i, started := range restarts {
		if n := started(); n > 0 {
			t.Logf("%s was started again %d times", r.edges[i].id, n)
		}
	}
	t.Logf("%s: stopped after %v, undone %v later: %s", b.name, stopped.Sub(written).Round(time.Millisecond), back.Sub(stopped).Round(time.Millisecond), change.Words)
	if !strings.Contains(change.Words, "wave 1") {
		t.Errorf("the words don't name the wave: %q", change.Words)
	}
	r.mend(t)
}

// mend writes what was there before, and waits until nothing is open any more.
func (r *rolling) mend(t *testing.T) {
	t.Helper()
	r.write("web.yaml", r.routed("/shop"))
	r.write("hello.yaml", filter("hello", "../module-1.wasm"))
	must(t, harness.Poll(t.Context(), patience, func() error {
		rollouts, err := r.server.Rollouts(t.Context())
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(rollouts.Changes, func(c harness.Change) bool { return c.State != "done" && c.State != "superseded" }); i >= 0 {
			return fmt.Errorf("%s is still %s", rollouts.Changes[i].Title, rollouts.Changes[i].State)
		}
		return nil
	}))
}

func (r *rolling) counts() []harness.Counts {
	var all []harness.Counts
	for _, l := range r.loads {
		all = append(all, l.Counts())
	}
	return all
}

// mostMemory is what a supervised Envoy may have: 512 MiB.
const mostMemory = 512 << 20

// supervise starts an Envoy again when it has ended, and ends it when it has too
// much memory, as the kernel does. It tells how often.
func supervise(ctx context.Context, t *testing.T, e *edge, l *harness.Load) (restarts func() int) {
	n, done := 0, make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if size, err := e.Memory(); err == nil && size > mostMemory {
				e.Kill()
			}
			if e.Running() == nil {
				continue
			}
			n++
			if err := e.Start(e.f.ctx); err != nil {
				t.Errorf("start %s again: %v", e.id, err)
				return
			}
			err := harness.Poll(e.f.ctx, patience, func() error {
				address, err := e.Listener(e.f.ctx, "web")
				if err == nil {
					l.Target(address)
				}
				return cmp.Or(err, e.Running())
			})
			if err != nil {
				t.Logf("%s has no listener after its start: %v", e.id, err)
			}
		}
	}()
	return func() int { <-done; return n }
}
