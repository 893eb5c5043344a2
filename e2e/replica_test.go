package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// replicas are two xds-servers that read one directory.
type replicas struct {
	*fleet
	servers [2]*harness.Server
}

func newReplicas(t *testing.T, args ...string) *replicas {
	t.Helper()
	r := &replicas{fleet: newFleet(t)}
	r.write("web.yaml", r.listener("web"))
	r.hello("0")
	for i := range r.servers {
		r.servers[i] = r.serveIn(filepath.Join(r.dir, fmt.Sprint("replica-", i)), args...)
	}
	return r
}

// xds and modules are the addresses of both, as bootstrap takes them.
func (r *replicas) xds() string {
	return r.servers[0].Addresses.XDS + "," + r.servers[1].Addresses.XDS
}

func (r *replicas) modules() string {
	return "http://" + r.servers[0].Addresses.Modules + ",http://" + r.servers[1].Addresses.Modules
}

// edge starts an Envoy that knows both.
func (r *replicas) edge(c combination) *edge {
	r.t.Helper()
	r.server = r.servers[0]
	return r.envoy(c, "edge-1", "--xds-address", r.xds())
}

// at waits until the Envoy is connected to one of those that are asked, and has what
// is wanted, and has that one be the fleet's server.
func (r *replicas) at(e *edge, within time.Duration, among ...int) (at int) {
	r.t.Helper()
	must(r.t, harness.Poll(r.t.Context(), within, func() error {
		var errs []error
		for _, i := range among {
			status, err := r.servers[i].Status(r.t.Context())
			if err == nil && status.Envoys.Connected != 1 {
				err = fmt.Errorf("replica %d has %d Envoys", i, status.Envoys.Connected)
			}
			if err == nil {
				at = i
				r.server = r.servers[i]
				return nil
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	}))
	return at
}

// TestReplicaKilled: an Envoy whose replica is killed goes to the other, which sends
// it what changes; and the same back, when that one is killed.
func TestReplicaKilled(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		r := newReplicas(t)
		e := r.edge(c)
		l := e.load("web", "x-hello")
		r.seen(l, e.Started, "x-hello", "0")
		for i := range 3 {
			at := r.at(e, patience, 0, 1)
			e.runs("hello")
			killed := time.Now()
			r.servers[at].Kill()
			r.at(e, patience, 1-at)
			moved := time.Since(killed)
			e.runs("hello")
			value := strconv.Itoa(i + 1)
			took := r.seen(l, r.hello(value), "x-hello", value)
			t.Logf("replica %d killed → at the other after %v; file written there → new header: %v", at, moved.Round(time.Millisecond), took.Round(time.Millisecond))
			must(t, r.servers[at].Start(r.ctx))
		}
		r.good(l)
	})
}

// TestReplicaKilledStatic: an Envoy with listeners of its own also downloads from the
// replica that is left: only its bootstrap knows where modules are.
func TestReplicaKilledStatic(t *testing.T) {
	c := newest()
	r := newReplicas(t)
	r.server = r.servers[0]
	e := r.staticEdge(c, r.staticListener("web", "hello")+"---\n"+r.upstreamCluster(), "--xds-address", r.xds(), "--modules-url", r.modules())
	e.firstAnswer("web", "x-hello")
	l := e.load("web", "x-hello")
	for i := range 3 {
		at := r.at(e, patience, 0, 1)
		e.runs("hello")
		r.servers[at].Kill()
		value := strconv.Itoa(i + 1)
		took := r.seen(l, r.hello(value), "x-hello", value)
		r.at(e, patience, 1-at)
		e.runs("hello")
		t.Logf("replica %d killed, file written → new header: %v", at, took.Round(time.Millisecond))
		must(t, r.servers[at].Start(r.ctx))
	}
	r.good(l)
}

// TestReplicaSilent: a replica that hangs, or whose machine is gone, closes no
// connection. Its Envoy finds that out by pings.
func TestReplicaSilent(t *testing.T) {
	r := newReplicas(t)
	e := r.edge(newest())
	l := e.load("web", "x-hello")
	r.seen(l, e.Started, "x-hello", "0")
	at := r.at(e, patience, 0, 1)
	e.runs("hello")
	silent := time.Now()
	must(t, syscall.Kill(r.servers[at].PID(), syscall.SIGSTOP))
	r.at(e, time.Minute, 1-at)
	t.Logf("replica %d silent → at the other after %v", at, time.Since(silent).Round(time.Millisecond))
	r.seen(l, r.hello("1"), "x-hello", "1")
	must(t, syscall.Kill(r.servers[at].PID(), syscall.SIGCONT))
	r.seen(l, r.hello("2"), "x-hello", "2")
	e.runs("hello")
	r.good(l)
}
