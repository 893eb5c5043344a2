package pipeline

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/replica"
	"wasmxds/replica/replicatest"
	"wasmxds/rollout"
	"wasmxds/signal"
	"wasmxds/signal/relay"
	"wasmxds/state"
	"wasmxds/state/local"
	"wasmxds/xds"
)

// server runs the part of a server of a store that communicates with others.
func server(t *testing.T, store state.Store, id string) (*Pipeline, *replica.Registry) {
	t.Helper()
	p := &Pipeline{XDS: xds.New(xds.Options{}), options: Options{Log: slog.New(slog.DiscardHandler)}}
	peers, _ := replicatest.Serve(t, store, id, func(peers *replica.Peers) []func(context.Context) {
		p.hears()
		p.meet(peers)
		return []func(context.Context){p.others.run, p.hearing.run, p.sampler.run}
	})
	return p, peers.Registry
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not so: " + what)
		}
	}
}

// TestFollowerLeads checks that a server that has sampled Envoys for another,
// and now leads, continues to sample those that it watches when the other's
// requests end.
func TestFollowerLeads(t *testing.T) {
	p := &Pipeline{XDS: xds.New(xds.Options{})}
	p.hears()
	now := time.Now()
	if _, err := p.follower.Asked(now, relay.Ask{Term: 1, Now: now, Rates: map[string]uint32{"edge-1": 1000, "edge-3": 1000}}); err != nil {
		t.Fatal(err)
	}
	p.judge.Watch(now, rollout.Watch{Change: "c1", Wave: 1, Policy: &definition.Rollout{}, New: []string{"edge-1"}, Control: []string{"edge-2"}, Phase: rollout.Before})
	p.sampler.look(false)
	p.follower.Expire(now.Add(time.Hour))
	for node, want := range map[string]bool{"edge-1": true, "edge-2": true, "edge-3": false} {
		if is := p.XDS.Sampling(node) > 0; is != want {
			t.Errorf("%s is to tell of requests: %t, want %t", node, is, want)
		}
	}
}

// TestPeersTell checks that the leader receives the reports of a watched Envoy
// from another server, which samples it as long as it is watched.
func TestPeersTell(t *testing.T) {
	store, err := local.Open(filepath.Join(t.TempDir(), "state.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	leads, registry := server(t, store, "A")
	follows, _ := server(t, store, "B")
	term, err := registry.Lead(t.Context(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	defer term.End()
	w := rollout.Watch{Change: "c1", Wave: 1, Policy: &definition.Rollout{}, New: []string{"edge-1"}, Control: []string{"edge-2"}, Phase: rollout.Before}
	leads.judge.Watch(time.Now(), w)
	leads.sampler.poke()
	eventually(t, "B has edge-1 tell", func() bool {
		return follows.XDS.Sampling("edge-1") == leads.XDS.Sampling("edge-1") && follows.XDS.Sampling("edge-1") > 0
	})
	o := follows.receiving()
	eventually(t, "A hears of it", func() bool {
		if !o.Watched("edge-1") || o.Watched("edge-3") {
			t.Fatal("B is to take what edge-1 tells, and nobody else")
		}
		o.Sampled("edge-1", time.Now(), []signal.Sample{{Latency: time.Millisecond}})
		return len(leads.heard.Envoy("edge-1", time.Now()).Blocks) > 0
	})
	w.Phase = rollout.After
	leads.judge.Watch(time.Now(), w)
	leads.sampler.poke()
	eventually(t, "B has nobody tell", func() bool { return follows.XDS.Sampling("edge-1") == 0 && !o.Watched("edge-1") })
}
