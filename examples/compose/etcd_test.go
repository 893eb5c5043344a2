//go:build compose

package compose

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// etcd is examples/compose-etcd: definitions in etcd, and requests go on, each through
// the filter, while one xds-server or one etcd is stopped; changes come through then.
func (e *engine) etcd(t *testing.T, root string) {
	p := e.up(t, root, "examples/compose-etcd/docker-compose.yaml", "examples/compose-etcd/envoy.yaml")
	envoys := []string{p.port(t, "envoy-1", "8080"), p.port(t, "envoy-2", "8080")}
	seen := func(value string) {
		t.Helper()
		for _, envoy := range envoys {
			p.seen(t, envoy, "X-My-Custom-Header: "+value)
		}
	}
	run := func(args ...string) {
		t.Helper()
		_, err := p.compose(t.Context(), args...)
		must(t, err)
	}
	seen("hello world")
	p.healthy(t, "xds-server-1")
	p.healthy(t, "xds-server-2")

	r := requests(t, envoys)
	value := "hello world"
	change := func(to string) {
		t.Helper()
		p.change(t, value, to)
		value = to
		run("run", "--rm", "apply")
		seen(to)
	}
	for _, services := range [][]string{{"xds-server-1"}, {"xds-server-2", "etcd-1"}} {
		run(slices.Concat([]string{"stop", "--timeout=20"}, services)...)
		change("without " + services[0])
		run(append([]string{"start"}, services...)...)
		p.healthy(t, services[0])
	}
	r.good(t)
}

// flow is a few requests a second, of which none may fail or miss the filter.
type flow struct {
	end  func()
	mu   sync.Mutex
	sent int
	bad  []string
}

// requests sends some to each Envoy, until good.
func requests(t *testing.T, envoys []string) *flow {
	ctx, cancel := context.WithCancel(t.Context())
	var sending sync.WaitGroup
	r := &flow{}
	r.end = func() { cancel(); sending.Wait() }
	t.Cleanup(r.end)
	for _, envoy := range envoys {
		sending.Go(func() {
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				got, err := get(ctx, "http://"+envoy+"/")
				if ctx.Err() != nil {
					return
				}
				r.mu.Lock()
				r.sent++
				if err != nil {
					r.bad = append(r.bad, err.Error())
				} else if !strings.Contains(got, "X-My-Custom-Header: ") {
					r.bad = append(r.bad, "not through the filter:\n"+got)
				}
				r.mu.Unlock()
			}
		})
	}
	return r
}

// good ends it, and fails where a request did.
func (r *flow) good(t *testing.T) {
	t.Helper()
	r.end()
	if len(r.bad) > 0 || r.sent == 0 {
		t.Errorf("%d of %d requests are bad: %.1000q", len(r.bad), r.sent, r.bad)
	}
	t.Logf("%d requests", r.sent)
}
