package xds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	grpcpeer "google.golang.org/grpc/peer"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds/swap"
	"wasmxds/xds/transport"
)

// TestDownloadsTellEachOnce checks that the number of notifications about a download
// doesn't grow with the square of the number of Envoys behind one address.
func TestDownloadsTellEachOnce(t *testing.T) {
	const envoys = 100
	now := time.Unix(0, 0)
	for name, test := range map[string]struct {
		of   []swap.Progress // each by all Envoys, in turn
		told int             // at most, for each
	}{
		"all at once":     {[]swap.Progress{swap.DownloadStarted, swap.DownloadDone}, 3},
		"begun and ended": {nil, 6},
	} {
		t.Run(name, func(t *testing.T) {
			p := &peer{modules: map[string]*awaited{}}
			for range envoys {
				(&client{peer: p}).await([]string{"a", "b"})
			}
			told := 0
			see := func(progress swap.Progress) {
				tell, waiting := p.saw(swap.Download{SHA256: "a", Progress: progress}, now)
				told += len(tell)
				if waiting != envoys {
					t.Error("it is told for one Envoy's alone")
				}
			}
			for _, progress := range test.of {
				for range envoys {
					see(progress)
				}
			}
			if test.of == nil {
				for range envoys {
					see(swap.DownloadStarted)
					see(swap.DownloadAborted)
				}
			}
			if told < envoys || told > test.told*envoys {
				t.Errorf("%d clients were told %d times, want at most %d each", envoys, told, test.told)
			}
		})
	}
}

// TestPeersForget checks that nothing is kept of clients that have left.
func TestPeersForget(t *testing.T) {
	p := &peer{modules: map[string]*awaited{}}
	c := &client{peer: p}
	c.await([]string{"a", "b"})
	p.saw(swap.Download{SHA256: "a", Progress: swap.DownloadStarted}, time.Unix(0, 0))
	c.await(nil)
	p.saw(swap.Download{SHA256: "a", Progress: swap.DownloadDone}, time.Unix(0, 0))
	p.saw(swap.Download{SHA256: "c", Progress: swap.DownloadDone}, time.Unix(0, 0))
	if len(p.modules) > 0 {
		t.Errorf("kept: %v", p.modules)
	}
}

// BenchmarkDownloadsOfOneAddress reports the beginning and end of downloads of one module
// by many Envoys behind one address.
func BenchmarkDownloadsOfOneAddress(b *testing.B) {
	for _, envoys := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(envoys), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				s, sha := awaitingServer(b, envoys)
				addr := loopback.Addr()
				b.StartTimer()
				for _, progress := range []swap.Progress{swap.DownloadStarted, swap.DownloadDone} {
					for range envoys {
						s.Downloaded(addr, swap.Download{SHA256: sha, Progress: progress, Size: 1 << 20})
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*envoys), "µs/envoy")
		})
	}
}

var loopback = (&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4000}).AddrPort()

type discard struct{ transport.Stream }

func (discard) Send(...[]byte) error { return nil }

// awaitingServer returns a server with Envoys behind one address that all should download
// one module.
func awaitingServer(b *testing.B, envoys int) (*Server, string) {
	s := New(Options{})
	d := &definition.Filter{Name: "hello", OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	sha := strings.Repeat("a", 64)
	set := &module.Set{Filters: []*module.Filter{{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: sha, Size: 1 << 20}}}}
	c, problems := resource.Compile(nil, resource.Sets{Base: set}, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(problems.Base) > 0 {
		b.Fatal(problems)
	}
	s.Publish(Publication{Catalog: c})
	ctx := grpcpeer.NewContext(context.Background(), &grpcpeer.Peer{Addr: net.TCPAddrFromAddrPort(loopback)})
	for i := range envoys {
		c, _, err := s.connect(ctx, discard{}, node{Node: definition.Node{ID: fmt.Sprint(i)}}, true)
		if err == nil {
			err = s.request(c, &request{delta: true, Request: swap.Request{Type: swap.Extension, Subscribe: []string{"hello"}}})
		}
		if err != nil {
			b.Fatal(err)
		}
		if !c.machine.Awaits(sha) {
			b.Fatal("it was not told to fetch")
		}
	}
	return s, sha
}

// TestOwnDownloadEnds checks that a client that was notified of the beginning of its own
// download is also notified of the end, even if another at its address has begun to wait
// meanwhile.
func TestOwnDownloadEnds(t *testing.T) {
	for _, end := range []swap.Progress{swap.DownloadDone, swap.DownloadAborted} {
		p := &peer{modules: map[string]*awaited{}}
		one, two := &client{peer: p}, &client{peer: p}
		now := time.Unix(0, 0)
		one.await([]string{"sha"})
		tell, waiting := p.saw(swap.Download{SHA256: "sha", Progress: swap.DownloadStarted}, now)
		if waiting != 1 || len(tell) != 1 || tell[0] != one {
			t.Fatalf("of the beginning %v are told, %d wait", tell, waiting)
		}
		two.await([]string{"sha"})
		if tell, _ = p.saw(swap.Download{SHA256: "sha", Progress: end}, now); !slices.Contains(tell, one) {
			t.Errorf("of the end %d it is not told", end)
		}
	}
}
