package e2e

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	played "wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/state/statetest/etcdtest"
)

// newJoined starts two xds-servers that have one state, in etcd.
func newJoined(t *testing.T, args ...string) *replicas {
	t.Helper()
	return newReplicas(t, append(inEtcd(etcdtest.Start(t, 1)), args...)...)
}

// streams are how many each server has.
func (r *replicas) streams() (n [2]int, err error) {
	for i, s := range r.servers {
		if n[i], err = streamsOf(r.t.Context(), s); err != nil {
			return n, err
		}
	}
	return n, nil
}

// even waits until both servers have about as many streams, of so many, and gives how
// long that took.
func (r *replicas) even(of int, within time.Duration) time.Duration {
	r.t.Helper()
	began := time.Now()
	must(r.t, harness.Poll(r.t.Context(), within, func() error {
		n, err := r.streams()
		if err != nil {
			return err
		}
		if d := math.Abs(float64(n[0] - n[1])); n[0]+n[1] != of || d > 0.2*float64(of)/2 && d > 1 {
			return fmt.Errorf("%d Envoys are at one and %d at the other, of %d", n[0], n[1], of)
		}
		return nil
	}))
	return time.Since(began)
}

// TestStreamsSpread: after one of two servers was killed, or has ended in order, Envoys
// are at both again by themselves, have lost no request, and are sent nothing that they
// have. There are such of both protocols.
func TestStreamsSpread(t *testing.T) {
	ends := map[combination]func(s *harness.Server) error{newest(): func(s *harness.Server) error { s.Kill(); return nil }}
	if *all {
		ends[combination{envoys[0], "sotw"}] = (*harness.Server).Stop
	}
	for c, end := range ends {
		t.Run(c.String(), func(t *testing.T) { streamsSpread(t, c, end) })
	}
}

func streamsSpread(t *testing.T, c combination, end func(*harness.Server) error) {
	const real, others = 6, 100
	r := newJoined(t)
	r.server = r.servers[0]
	var loads []*harness.Load
	for i := range real {
		c.protocol = []string{"delta", "sotw"}[i%2]
		e := r.envoy(c, fmt.Sprint("real-", i), "--xds-address", r.xds())
		l := e.load("web", "x-hello")
		r.seen(l, e.Started, "x-hello", "0")
		loads = append(loads, l)
	}
	for _, delta := range []bool{true, false} {
		f, err := played.New(played.Options{
			Address: r.xds(),
			Delta:   delta, First: map[bool]int{true: 0, false: others / 2}[delta], Clients: others / 2,
		})
		must(t, err)
		f.Start(r.ctx)
		t.Cleanup(f.Stop)
	}
	r.eventually(func() error {
		status, err := r.server.Status(t.Context())
		if err != nil {
			return err
		}
		for _, f := range status.Filters {
			if f.Name == "hello" && f.Running == real+others && status.Envoys.Behind == 0 {
				return nil
			}
		}
		return fmt.Errorf("not all run it: %+v, %+v", status.Filters, status.Envoys)
	})
	t.Logf("started: even after %v", r.even(real+others, patience).Round(time.Second))
	unsent := func(i int, before map[string]string) {
		t.Helper()
		for name, n := range sent(t, r.servers[i]) {
			if n != before[name] {
				t.Errorf("server %d has sent to who had it: %s is %s, was %s", i, name, n, before[name])
			}
		}
	}
	none := map[string]string{}
	for name := range sent(t, r.servers[0]) {
		none[name] = "0"
	}
	other := sent(t, r.servers[1])
	must(t, end(r.servers[0]))
	must(t, r.servers[0].Start(r.ctx))
	t.Logf("restarted: even after %v", r.even(real+others, patience).Round(time.Second))
	unsent(0, none)
	unsent(1, other)
	written := r.hello("1")
	for _, l := range loads {
		r.seen(l, written, "x-hello", "1")
		r.good(l)
	}
}

// TestChangeWhileDraining: a change that comes while a server drains its streams arrives
// on them.
func TestChangeWhileDraining(t *testing.T) {
	atOnce(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		f.write("web.yaml", f.listener("web"))
		f.hello("0")
		f.serve("--drain", "1m")
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "0")
		e.runs("hello")
		must(t, syscall.Kill(f.server.PID(), syscall.SIGTERM))
		f.eventually(func() error {
			if _, err := f.server.Get(t.Context(), "/readyz"); err == nil {
				return errors.New("it is ready still")
			}
			return nil
		})
		t.Logf("written while it drains → new header: %v", f.seen(l, f.hello("1"), "x-hello", "1").Round(time.Millisecond))
		f.good(l)
	})
}

// TestModuleFromReplica: a server whose disk is empty, and whose origins are gone, gets
// what is in force from the other, and its Envoys have the filters.
func TestModuleFromReplica(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		r := newJoined(t)
		origin, err := harness.StartOrigin()
		must(t, err)
		r.server = r.servers[0]
		pinned := wasmtest.Filter{Header: "x-pinned", Value: "1"}.Module()
		latest := wasmtest.Filter{Header: "x-latest", Value: "1"}.Module()
		r.write("pinned.yaml", fmt.Sprintf("kind: WasmFilter\nname: pinned\nmodule: {url: %q, sha256: %s}\n", origin.Put("pinned.wasm", pinned), harness.SHA256(pinned)))
		r.write("latest.yaml", filter("latest", origin.Put("latest.wasm", latest)))
		with := func(id string, s *harness.Server) *harness.Load {
			t.Helper()
			e := r.envoy(c, id, "--xds-address", s.Addresses.XDS)
			if s == r.servers[0] { // the other may lead, and be about to read the files
				for _, name := range []string{"hello", "pinned", "latest"} {
					e.runs(name)
				}
			}
			l := e.load("web", "x-hello", "x-pinned", "x-latest")
			r.seen(l, e.Started, "x-latest", "1")
			return l
		}
		r.eventually(func() error { return r.servesAll(0) })
		first := with("edge-0", r.servers[0])

		must(t, r.servers[1].Stop())
		must(t, os.RemoveAll(filepath.Join(r.dir, "replica-1", "data")))
		must(t, origin.Close())
		must(t, os.Rename(filepath.Join(r.dir, "module-1.wasm"), filepath.Join(r.dir, "gone.wasm"))) // that of hello
		must(t, r.servers[1].Start(r.ctx))
		second := with("edge-1", r.servers[1])
		for _, l := range []*harness.Load{first, second} {
			r.good(l)
		}
	})
}

// servesAll says whether a server has a module for each filter.
func (r *replicas) servesAll(i int) error {
	status, err := r.servers[i].Status(r.t.Context())
	if err != nil {
		return err
	}
	if n := len(status.Filters); n != 3 || status.Definitions.Loaded != 4 {
		return fmt.Errorf("%d filters, %d definitions", n, status.Definitions.Loaded)
	}
	for _, f := range status.Filters {
		if f.State != "good" {
			return fmt.Errorf("%s is %s", f.Name, f.State)
		}
	}
	return nil
}
