package rollout_test

import (
	"fmt"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// fleetOf returns a machine with 10,000 Envoys.
func fleetOf(b *testing.B) (*rollout.Machine, []definition.Node, map[string]any) {
	m, errs := rollout.New(rollout.Options{Check: check}, nil)
	if len(errs) > 0 {
		b.Fatal(errs)
	}
	nodes := make([]definition.Node, 10_000)
	for i := range nodes {
		nodes[i] = definition.Node{ID: fmt.Sprintf("edge-%d", i), Cluster: "edge", Labels: map[string]string{"tier": "main", "zone": fmt.Sprint(i % 3)}}
	}
	return m, nodes, map[string]any{}
}

// BenchmarkEvents handles events of an Envoy, with several open changes in their last wave
// but one.
func BenchmarkEvents(b *testing.B) {
	for _, open := range []int{0, 1, 3} {
		b.Run(fmt.Sprintf("open=%d", open), func(b *testing.B) {
			m, nodes, known := fleetOf(b)
			now := time.Unix(0, 0)
			policies := []*definition.Rollout{policyOf([]string{"p", "waves=25%,100%", "bake=1h"})}
			files := []string{"a=v1", "b=v1", "c=v1", "d=v1"}
			step := func(e rollout.Event) rollout.Ready {
				r := m.Step(now, e)
				if r.Save != nil {
					return m.Step(now, rollout.Saved{Seq: r.Save.Seq})
				}
				return r
			}
			step(rollout.Wanted{Set: wantedOf(files, known, policies, nil)})
			for _, n := range nodes {
				step(rollout.Connected{Node: n})
			}
			var plan *rollout.Plan
			for i := range open {
				files[i] = files[i][:3] + "2"
				plan = step(rollout.Wanted{Set: wantedOf(files, known, policies, nil)}).Plan
			}
			b.Run("settled", func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					n := nodes[i%len(nodes)]
					choice := rollout.Choice("")
					if plan != nil {
						choice = plan.Choose(n)
					}
					m.Step(now, rollout.Settled{ID: n.ID, Choice: choice})
				}
			})
			b.Run("gone and back", func(b *testing.B) {
				b.ReportAllocs()
				for i := range b.N {
					n := nodes[i%len(nodes)]
					m.Step(now, rollout.Gone{ID: n.ID})
					m.Step(now, rollout.Connected{Node: n})
					now = now.Add(time.Millisecond)
				}
			})
		})
	}
}

// BenchmarkWave begins a wave among 10,000 Envoys.
func BenchmarkWave(b *testing.B) {
	m, nodes, known := fleetOf(b)
	now := time.Unix(0, 0)
	policies := []*definition.Rollout{policyOf([]string{"p", "waves=25%,100%", "bake=1h"})}
	m.Step(now, rollout.Wanted{Set: wantedOf([]string{"a=v0"}, known, policies, nil)})
	for _, n := range nodes {
		m.Step(now, rollout.Connected{Node: n})
	}
	b.ResetTimer()
	for i := range b.N {
		r := m.Step(now, rollout.Wanted{Set: wantedOf([]string{fmt.Sprintf("a=v%d", i+1)}, known, policies, nil)})
		m.Step(now, rollout.Saved{Seq: r.Save.Seq})
	}
}

// BenchmarkNoPolicy handles a change that matches no policy, among 200 filters.
func BenchmarkNoPolicy(b *testing.B) {
	m, nodes, known := fleetOf(b)
	now := time.Unix(0, 0)
	files := make([]string, 200)
	for i := range files {
		files[i] = fmt.Sprintf("f%d=v0", i)
	}
	m.Step(now, rollout.Wanted{Set: wantedOf(files, known, nil, nil)})
	for _, n := range nodes {
		m.Step(now, rollout.Connected{Node: n})
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		files[i%200] = fmt.Sprintf("f%d=v%d", i%200, i+1)
		set := wantedOf(files, known, nil, nil)
		b.StartTimer()
		m.Step(now, rollout.Wanted{Set: set})
	}
}
