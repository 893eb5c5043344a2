package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	played "wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/state/statetest/etcdtest"
)

// behind is a number of xds-servers of one state behind one address, as a Service of
// Kubernetes has: an Envoy whose stream is closed may come back to the same one.
type behind struct {
	*fleet
	etcd    []string
	servers []*harness.Server
	one     *harness.Balancer
	envoys  int // that are connected
}

// TestBehindOneAddress: Envoys that reach all xds-servers by one address get even by
// themselves after a server was restarted, and after one has joined. None is moved more
// than a few times, no connection is refused, and no request is lost.
func TestBehindOneAddress(t *testing.T) {
	t.Parallel() // it mostly waits
	// At random the servers may differ by more: each Envoy is moved once, and then again
	// only after minutes. So many are played that this is rare: 20 % of a share of 150
	// are three standard deviations.
	picks := map[string]func(t *testing.T){"in turn": func(t *testing.T) { behindOneAddress(t, nil, 12, 0.1) }}
	if *all {
		picks["many in turn"] = func(t *testing.T) { behindOneAddress(t, nil, 300, 0.1) }
		picks["at random"] = func(t *testing.T) { behindOneAddress(t, rand.New(rand.NewPCG(1, 2)), 300, 0.2) }
	}
	for _, name := range slices.Sorted(maps.Keys(picks)) {
		t.Run(name, picks[name])
	}
}

func behindOneAddress(t *testing.T, atRandom *rand.Rand, others int, tolerated float64) {
	b := &behind{fleet: newFleet(t), etcd: inEtcd(etcdtest.Start(t, 1))}
	b.write("web.yaml", b.listener("web"))
	b.hello("0")
	for range 2 {
		b.join()
	}
	one, err := harness.StartBalancer(atRandom, b.addresses()...)
	must(t, err)
	b.one = one
	t.Cleanup(func() { must(t, one.Close()) })
	b.server = b.servers[0]
	var loads []*harness.Load
	for _, envoy := range envoys {
		for _, protocol := range []string{"sotw", "delta"} {
			e := b.envoy(combination{envoy, protocol}, fmt.Sprintf("real-%d", b.envoys), "--xds-address", one.Address(), "--xds-replicas", "2")
			l := e.load("web", "x-hello")
			b.seen(l, e.Started, "x-hello", "0")
			loads = append(loads, l)
			b.envoys++
		}
	}
	for i, delta := range []bool{true, false} {
		f, err := played.New(played.Options{
			Address: one.Address() + "," + one.Address(), // so they say that they know two
			Delta:   delta, First: i * others / 2, Clients: others / 2,
		})
		must(t, err)
		f.Start(b.ctx)
		t.Cleanup(f.Stop)
	}
	b.envoys += others / 2 * 2

	t.Logf("%d Envoys: even after %v", b.envoys, b.even(tolerated, patience))
	// A server is restarted, as Kubernetes does it: it gets no connections before it is ready.
	first := b.servers[0].Addresses.XDS
	one.Targets(b.addresses()[1:]...)
	must(t, b.servers[0].Stop())
	b.eventually(func() error {
		n, err := streamsOf(t.Context(), b.servers[1])
		if err == nil && n != b.envoys {
			err = fmt.Errorf("%d Envoys are at the server that is left, of %d", n, b.envoys)
		}
		return err
	})
	before, _ := one.Came()
	must(t, b.servers[0].Start(b.ctx))
	if b.servers[0].Addresses.XDS != first {
		t.Fatalf("it listens at %s, not at %s", b.servers[0].Addresses.XDS, first)
	}
	b.eventually(func() error { return up(t.Context(), b.servers[0]) })
	one.Targets(b.addresses()...)
	t.Logf("one was restarted: even after %v", b.even(tolerated, 2*patience))
	b.moved(before)
	if *all {
		before, _ = one.Came()
		b.join()
		b.eventually(func() error { return up(t.Context(), b.servers[2]) })
		one.Targets(b.addresses()...)
		// Those that have just been moved stay for two minutes, or four where that was in vain.
		t.Logf("one has joined: even after %v", b.even(tolerated, 6*patience))
		b.moved(before)
	}
	written := b.hello("1")
	for _, l := range loads {
		b.seen(l, written, "x-hello", "1")
		b.good(l)
	}
	if _, refused := one.Came(); refused > 0 {
		t.Errorf("%d connections were refused", refused)
	}
	for i, s := range b.servers {
		turned, err := metric(t.Context(), s, "wasmxds_xds_turned_away_total")
		if err != nil || turned > 0 {
			t.Errorf("server %d has turned %v away: %v", i, turned, err)
		}
	}
}

// join starts one more server.
func (b *behind) join() {
	b.t.Helper()
	b.servers = append(b.servers, b.serveIn(filepath.Join(b.dir, fmt.Sprint("replica-", len(b.servers))), b.etcd...))
}

func (b *behind) addresses() (all []string) {
	for _, s := range b.servers {
		all = append(all, s.Addresses.XDS)
	}
	return all
}

// even waits until each server has about its share of the streams, and gives how long
// that took.
func (b *behind) even(tolerated float64, within time.Duration) time.Duration {
	b.t.Helper()
	began := time.Now()
	share := float64(b.envoys) / float64(len(b.servers))
	must(b.t, harness.Poll(b.t.Context(), within, func() error {
		var have []int
		sum, uneven := 0, false
		for _, s := range b.servers {
			n, err := streamsOf(b.t.Context(), s)
			if err != nil {
				return err
			}
			have, sum = append(have, n), sum+n
			off := max(float64(n)-share, share-float64(n))
			// Few Envoys can be as even as they get: no server closes what is not more than
			// its share rounded up, so the others together may lack one each.
			uneven = uneven || off > tolerated*share && off >= float64(len(b.servers))
		}
		if uneven || sum != b.envoys {
			return fmt.Errorf("the servers have %v of %d Envoys", have, b.envoys)
		}
		return nil
	}))
	return time.Since(began).Round(time.Second)
}

// moved checks how often Envoys have connected since then. Real ones have one IP address
// together.
func (b *behind) moved(before map[string]int) {
	b.t.Helper()
	now, _ := b.one.Came()
	sum, most := 0, 0
	for ip, n := range now {
		n -= before[ip]
		if sum += n; ip == "127.0.0.1" {
			n = (n + 3) / 4 // of four
		}
		most = max(most, n)
	}
	b.t.Logf("%d of %d Envoys were moved, none more than %d times", sum, b.envoys, most)
	if most > len(b.servers)+1 { // each may move it once, and again after two minutes
		b.t.Errorf("an Envoy was moved %d times", most)
	}
}
