package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/state/statetest/etcdtest"
)

// elsewhere are two xds-servers of one state, of which the first leads, and Envoys whose
// streams go to the one and whose logs or downloads go to the other.
type elsewhere struct {
	*rolling
	servers [2]*harness.Server
	ways    map[*edge]*harness.Proxy // to the servers, from each Envoy
}

const leads, follows = 0, 1

// serveElsewhere starts the servers.
func serveElsewhere(t *testing.T, load harness.LoadConfig, args ...[]string) *elsewhere {
	t.Helper()
	r := &elsewhere{rolling: &rolling{fleet: newFleet(t), load: load, at: map[*edge]*harness.Server{}}, ways: map[*edge]*harness.Proxy{}}
	r.write("web.yaml", r.routed("/shop"))
	r.write("hello.yaml", filter("hello", r.module(goodFilter)))
	etcd := inEtcd(etcdtest.Start(t, 1))
	for i := range r.servers {
		all := etcd
		if len(args) > 0 {
			all = slices.Concat(etcd, args[i])
		}
		r.servers[i] = r.serveIn(filepath.Join(r.dir, fmt.Sprint("server-", i)), all...)
		r.eventually(func() error { return r.standing(i) })
	}
	r.server = r.servers[leads]
	return r
}

// standing is nil when each server that runs knows all, and which one leads.
func (r *elsewhere) standing(newest int) error {
	var errs []error
	for i, s := range r.servers[:newest+1] {
		status, err := s.Status(r.t.Context())
		led := err == nil && slices.ContainsFunc(status.Replicas, func(o harness.Replica) bool { return o.Lives && o.Stand == "leads" && o.Self == (i == leads) })
		if err == nil && (len(status.Replicas) != newest+1 || !led) {
			err = fmt.Errorf("server %d knows of %+v", i, status.Replicas)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// envoy starts an Envoy whose stream goes to one server, and all later connections
// to another.
func (r *elsewhere) envoy(c combination, id string, stream, logs int, args ...string) *edge {
	r.t.Helper()
	p, err := harness.StartProxy(r.servers[stream].Addresses.XDS)
	must(r.t, err)
	r.t.Cleanup(func() { must(r.t, p.Close()) })
	bootstrap, err := r.server.Bootstrap(r.ctx, id, append([]string{"--protocol", c.protocol, "--xds-address", p.Address()}, args...)...)
	must(r.t, err)
	e := r.envoyOf(id, harness.EnvoyConfig{Binary: c.envoy, Bootstrap: bootstrap, Workers: 2})
	r.edges, r.at[e], r.ways[e] = append(r.edges, e), r.servers[stream], p
	e.address("web")
	p.Target(r.servers[logs].Addresses.XDS)
	return e
}

// streams is nil when a server has the streams of so many Envoys.
func (r *elsewhere) streams(server, n int) error {
	has, err := streamsOf(r.t.Context(), r.servers[server])
	if err == nil && has != n {
		err = fmt.Errorf("server %d has the streams of %d Envoys, want %d", server, has, n)
	}
	return err
}

// serveAll puts the load on all Envoys, and has changes judged by a policy.
func (r *elsewhere) serveAll(policy string) {
	for _, e := range r.edges {
		r.serves(e)
	}
	r.write("policy.yaml", "kind: Rollout\nname: careful\nwaves: [1]\n"+policy)
}

// becomes waits until the change that was written is so.
func (r *elsewhere) becomes(t *testing.T, written time.Time, is func(harness.Change) bool) (change harness.Change) {
	must(t, harness.Poll(t.Context(), 15*time.Minute, func() (err error) {
		if change, err = r.server.Newest(t.Context(), "hello", written.Add(-time.Second)); err == nil && !is(change) {
			err = fmt.Errorf("it is %s: %s", change.State, change.Words)
		}
		return err
	}))
	return change
}

// stoppedElsewhere has a change that fails requests come to an Envoy of the server that
// does not lead, whose logs that one gets; of those that it is compared with, one has
// its stream there and its logs here, and one the other way round.
func stoppedElsewhere(t *testing.T, r *elsewhere) {
	r.serveAll("bake: 10m\nstop: " + errorsAlone + "\n")
	r.eventually(func() error { return r.streams(follows, 2) })
	r.eventually(func() error { return r.streams(leads, 1) })
	r.stops(t, badInRequests[0].bad, 15*time.Minute)
}

// goodElsewhere has a good change go everywhere, by what these Envoys tell.
func goodElsewhere(t *testing.T, r *elsewhere) {
	r.serveAll("bake: 1s\nstop: {errors: {more: 10%}, latency: {more: 10000%}}\n")
	written := r.hello("better")
	r.becomes(t, written, func(c harness.Change) bool { return c.State == "done" })
	for _, l := range r.loads {
		r.seen(l, written, "x-hello", "better")
		r.good(l)
	}
	t.Logf("it went everywhere after %v", time.Since(written).Round(time.Second))
}

// stoppedByNext has the server that leads killed in the first wave of a change that fails
// requests. The other one takes over, and stops it by what was told before the wave,
// which was kept, and what it is told itself.
func stoppedByNext(t *testing.T, r *elsewhere) {
	r.serveAll("bake: 10m\nstop: " + errorsAlone + "\n")
	written := time.Now()
	badInRequests[0].write(r.rolling)
	r.becomes(t, written, func(c harness.Change) bool { return c.Wave == 1 && c.Settled == 1 })
	killed := time.Now()
	r.servers[leads].Kill()
	r.server = r.servers[follows]
	for _, e := range r.edges {
		r.ways[e].Target(r.server.Addresses.XDS)
	}
	change := r.becomes(t, written, func(c harness.Change) bool { return c.State == "stopped" })
	t.Logf("stopped %v after the leader was killed: %s", time.Since(killed).Round(time.Second), change.Words)
	if change.Wave != 1 || !strings.Contains(change.Words, "of requests fail") {
		t.Errorf("it was stopped in wave %d", change.Wave)
	}
	for i, l := range r.loads {
		if had := l.LastSeen("x-hello", "bad").After(written); had != (r.edges[i].id == "edge-2") {
			t.Errorf("%s had it: %t", r.edges[i].id, had)
		}
	}
}

// TestCrashToldElsewhere: the alarm of a crashed VM comes to a server that does not have
// the Envoy, and the VM is replaced by the one that has.
func TestCrashToldElsewhere(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		r := serveElsewhere(t, shop)
		r.write("web.yaml", r.listener("web"))
		r.write("hello.yaml", filter("hello", r.module(wasmtest.Filter{Header: "x-hello", Value: "1", Fault: wasmtest.TrapOnRequest})))
		for i, logs := range []int{follows, leads} {
			stream := 1 - logs
			e := r.envoy(c, fmt.Sprint("edge-", i+1), stream, logs)
			r.eventually(func() error { return r.streams(stream, 1) })
			address := e.address("web")
			r.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
			start := time.Now()
			if got := outcome(t, address, http.Header{wasmtest.TrapHeader: {"1"}}); got != "503" {
				t.Fatalf("the request that traps: %s", got)
			}
			r.eventually(func() error {
				status, err := r.servers[stream].Status(t.Context())
				if err != nil {
					return err
				}
				at, err := status.Filter(e.id, "hello")
				if err == nil && (at.Crashes == nil || at.Crashes.Count != 1 || at.State != "running" || at.Crashes.Replaced.Before(start)) {
					err = fmt.Errorf("the crash is not replaced: %+v %+v", at, at.Crashes)
				}
				return err
			})
			t.Logf("stream to %d, logs to %d: replaced after %v", stream, logs, time.Since(start).Round(time.Millisecond))
			r.eventually(func() error { return outcomeIs(t, address, nil, "filtered") })
		}
	})
}

// TestRestartsElsewhere: an Envoy that is killed and comes back to another server each
// time counts as one that comes back as new, and a change is stopped for that; that it
// goes to another server alone does not count.
func TestRestartsElsewhere(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		r := serveElsewhere(t, shop)
		r.write("policy.yaml", "kind: Rollout\nname: careful\nwaves: [1, 100%]\nbake: 1h\nstop: "+atOnceAlone+"\n")
		for _, id := range []string{"edge-1", "edge-2"} {
			r.serves(r.envoy(c, id, follows, follows))
		}
		e, l := r.edges[1], r.loads[1] // edge-2 is the first wave, by its id
		written := r.hello("new")
		r.seen(l, written, "x-hello", "new")
		counts := func() (change harness.Change) {
			r.eventually(func() (err error) {
				change, err = r.server.Newest(t.Context(), "hello", written.Add(-time.Second))
				if err == nil && change.State == "rolling" && change.Settled != 1 {
					err = fmt.Errorf("%d Envoys run it: %s", change.Settled, change.Words)
				}
				return err
			})
			return change
		}
		at := follows
		moves := func(how func()) {
			at = 1 - at
			r.ways[e].Target(r.servers[at].Addresses.XDS)
			how()
			r.eventually(func() error { return r.streams(at, at+1) })
			r.at[e] = r.servers[at]
		}
		for range 3 {
			moves(r.ways[e].Cut)
			if change := counts(); change.State != "rolling" {
				t.Fatalf("it has only moved, and the change is %s: %s", change.State, change.Words)
			}
		}
		start := func() {
			e.Kill()
			must(t, e.Start(r.ctx))
			l.Target(e.address("web"))
		}
		moves(start)
		if change := counts(); change.State != "rolling" {
			t.Errorf("it has restarted once, and the change is %s: %s", change.State, change.Words)
		}
		moves(start)
		r.eventually(func() error {
			if change := counts(); change.State != "stopped" {
				return fmt.Errorf("%s: %s", change.State, change.Words)
			}
			return nil
		})
		t.Log(counts().Words)
	})
}

// TestDownloadElsewhere: an Envoy that downloads from a server that does not have its
// stream, as behind one address of several, is not waited for until it would have been
// pushed to again: 250 ms, where no download is seen.
func TestDownloadElsewhere(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		p, err := harness.StartProxy("")
		must(t, err)
		t.Cleanup(func() { must(t, p.Close()) })
		at := []string{"--modules-url", "http://" + p.Address()}
		r := serveElsewhere(t, shop, at, at)
		p.Target(r.servers[follows].Addresses.Modules)
		e := r.envoy(c, "edge-1", leads, leads)
		r.serves(e)
		_, before, err := e.Answers(t.Context(), modulesCluster)
		must(t, err)
		var took []time.Duration
		for i := range 20 {
			value := fmt.Sprint("v", i)
			took = append(took, r.seen(r.loads[0], r.hello(value), "x-hello", value))
			e.runs("hello")
		}
		_, after, err := e.Answers(t.Context(), modulesCluster)
		must(t, err)
		t.Logf("%d swaps with %d downloads: min %v, p50 %v, max %v", len(took), after-before, slices.Min(took), harness.Quantile(took, 0.5), slices.Max(took))
		if slices.Min(took) >= 250*time.Millisecond {
			t.Error("none is as quick as where the download is seen")
		}
		r.good(r.loads[0])
	})
}
