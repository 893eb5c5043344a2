package xds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	grpcpeer "google.golang.org/grpc/peer"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// TestEndedIsToldLast checks that a stream that ends during a publication causes no
// observation after its end.
func TestEndedIsToldLast(t *testing.T) {
	var told []Observation
	s := New(Options{Observe: func(o Observed) { told = append(told, o.What) }})
	catalog, _ := resource.Compile(nil, resource.Sets{Base: new(module.Set)}, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	s.Publish(Publication{Catalog: catalog})
	ctx := grpcpeer.NewContext(context.Background(), &grpcpeer.Peer{Addr: net.TCPAddrFromAddrPort(loopback)})
	c, _, err := s.connect(ctx, discard{}, node{Node: definition.Node{ID: "edge"}}, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []bool{false, true} {
		r := &request{delta: true, Request: swap.Request{Type: swap.Listener}}
		if answer {
			r.Nonce = c.flights[swap.Listener].text()
		}
		if err := s.request(c, r); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Contains(told, Settled) {
		t.Fatalf("it was told of %v, and not that it has all", told)
	}
	s.disconnect(c)
	s.offer(c, &Publication{Catalog: catalog, Choose: func(definition.Node) resource.Choice { return "c" }}, false)
	if last := told[len(told)-1]; last != Gone {
		t.Errorf("it was told of %v, want %v at the end", told, Gone)
	}
}

// BenchmarkFanOut publishes to ten thousand Envoys what changes nothing for them, as is
// usual: without choices, and with a fifth of the Envoys in a change.
func BenchmarkFanOut(b *testing.B) {
	const envoys = 10_000
	for _, open := range []bool{false, true} {
		b.Run(fmt.Sprintf("change=%t", open), func(b *testing.B) {
			s := New(Options{})
			var catalog *resource.Catalog
			publish := func(elsewhere string) {
				sets := resource.Sets{Base: fanOutSet("one", elsewhere)}
				if open {
					sets.Choices = map[resource.Choice]*module.Set{"c": fanOutSet("two", elsewhere)}
				}
				var problems resource.Problems
				catalog, problems = resource.Compile(catalog, sets, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
				if len(problems.Base) > 0 {
					b.Fatal(problems)
				}
				p := Publication{Catalog: catalog}
				if open {
					p.Choose = func(n definition.Node) resource.Choice {
						if strings.HasSuffix(n.ID, "0") || strings.HasSuffix(n.ID, "5") {
							return "c"
						}
						return ""
					}
				}
				s.Publish(p)
			}
			publish("a")
			ctx := grpcpeer.NewContext(context.Background(), &grpcpeer.Peer{Addr: net.TCPAddrFromAddrPort(loopback)})
			for i := range envoys {
				n := definition.Node{ID: fmt.Sprint(i), Cluster: "edge", Labels: map[string]string{"env": "prod"}}
				if _, _, err := s.connect(ctx, discard{}, node{Node: n}, true); err != nil {
					b.Fatal(err)
				}
			}
			steps := s.Generation()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				b.StopTimer()
				publish(fmt.Sprint(i % 2))
				b.StartTimer()
				s.fanOut()
			}
			if now := s.Generation(); now-steps > uint64(b.N) {
				b.Errorf("%d Envoys were told something in %d rounds", now-steps-uint64(b.N), b.N)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/envoys, "ns/envoy")
		})
	}
}

// fanOutSet returns a set with a filter for the nodes of the benchmark and one for others.
func fanOutSet(here, elsewhere string) *module.Set {
	set := new(module.Set)
	for _, f := range [][3]string{{"elsewhere", elsewhere, "test"}, {"here", here, "prod"}} {
		d := &definition.Filter{Name: f[0], RootID: f[1], OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
		d.Attach.Nodes.Labels = map[string]string{"env": f[2]}
		set.Filters = append(set.Filters, &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: strings.Repeat("a", 64), Size: 1}})
	}
	return set
}
