package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// routed is a listener with routes that have a filter off, or with another
// configuration, and requests on each, on connections that are kept and on new ones.
type routed struct {
	*fleet
	c     combination
	edge  *edge
	loads map[string]*harness.Load // by path
}

const routedHeader = "x-hello"

// newRouted starts with the filter on each route.
func newRouted(t *testing.T, c combination, module wasmtest.Filter, args ...string) *routed {
	r := &routed{fleet: newFleet(t), c: c, loads: map[string]*harness.Load{}}
	r.filter(module)
	r.routes(nil)
	r.serve(args...)
	r.edge = r.envoy(c, "edge-1")
	for _, path := range []string{"/", "/off", "/other"} {
		config := harness.LoadConfig{Address: r.edge.address("web"), Path: path, Headers: []string{routedHeader}}
		if path == "/off" {
			config.Headers = nil
		}
		r.loads[path] = harness.StartLoad(r.ctx, config)
		t.Cleanup(func() { r.loads[path].Stop() })
	}
	for path := range r.loads {
		r.seen(r.loads[path], time.Now(), routedHeader, "all")
	}
	return r
}

func (r *routed) filter(module wasmtest.Filter) {
	r.t.Helper()
	module.Header, module.FromConfig = routedHeader, true
	r.write("hello.yaml", filter("hello", r.module(module), "config: all", "verify: abi"))
}

// routes writes the listener; of each path what is said of the filter.
func (r *routed) routes(says map[string]string, lines ...string) time.Time {
	r.t.Helper()
	for _, path := range []string{"/off", "/other"} {
		line := fmt.Sprintf("- {name: %s, prefix: %s, upstream: %q", path[1:], path, r.upstream.Address())
		if said := says[path]; said != "" {
			line += ", filters: {hello: " + said + "}"
		}
		lines = append(lines, line+"}")
	}
	return r.write("web.yaml", r.listener("web", lines...))
}

// meets waits until requests of a path have a header's value, and no other any more;
// "": none.
func (r *routed) meets(path, value string, others ...string) {
	r.t.Helper()
	l := r.loads[path]
	if value != "" {
		r.seen(l, time.Now(), routedHeader, value)
	}
	r.eventually(func() error {
		before := l.Counts().Requests
		since := time.Now()
		if err := harness.Poll(r.t.Context(), patience, func() error {
			if l.Counts().Requests < before+20 {
				return fmt.Errorf("few requests of %s", path)
			}
			return nil
		}); err != nil {
			return err
		}
		for _, other := range others {
			if l.LastSeen(routedHeader, other).After(since.Add(100 * time.Millisecond)) {
				return fmt.Errorf("%s still meets the filter with %q", path, other)
			}
		}
		if value != "" && l.LastSeen(routedHeader, value).Before(since) {
			return fmt.Errorf("%s does not meet the filter with %q", path, value)
		}
		return nil
	})
}

// version names the routes that the listener has asked for since Envoy began, which are
// others for each time that it is replaced.
func (r *routed) version() string {
	r.t.Helper()
	stats, err := r.edge.Stats(r.t.Context(), "^http.web.rds.routes/web/.*.config_reload$")
	must(r.t, err)
	return strings.Join(slices.Sorted(maps.Keys(stats)), " ")
}

// kept fails where the listener was replaced since it had a version, or a connection was
// closed for a change.
func (r *routed) kept(version string) {
	r.t.Helper()
	if now := r.version(); now != version || version == "" {
		r.t.Errorf("the listener was replaced: %q, before %q", now, version)
	}
	stats, err := r.edge.Stats(r.t.Context(), "^http.web.downstream_cx_drain_close$")
	must(r.t, err)
	if n, ok := stats["http.web.downstream_cx_drain_close"]; !ok || n != 0 {
		r.t.Errorf("connections were closed: %v", stats)
	}
}

// end stops the loads, none of whose requests failed or passed without the filter
// where it is on.
func (r *routed) end() {
	r.t.Helper()
	var told []string
	for path, l := range r.loads {
		told = append(told, fmt.Sprintf("%s: %d requests", path, r.good(l).Requests))
	}
	r.t.Log(strings.Join(told, ", "))
}

// TestRouteFilters: a filter is off on one route and has another configuration on another;
// the module is swapped, the configuration changes, and both sides start anew. No
// connection is closed for any of it.
func TestRouteFilters(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		r := newRouted(t, c, wasmtest.Filter{Fault: wasmtest.RejectSize, At: len("refused")})
		version := r.version()
		r.routes(map[string]string{"/off": "off", "/other": "{config: other}"})
		r.meets("/off", "", "all")
		r.meets("/other", "other", "all")
		r.meets("/", "all", "other")
		r.kept(version)

		// Another module, for both, under load.
		before := r.edge.runs("hello").Wanted
		r.filter(wasmtest.Filter{Log: "swapped", Fault: wasmtest.RejectSize, At: len("refused")})
		r.eventually(func() error {
			if r.edge.runs("hello").Wanted == before {
				return fmt.Errorf("it runs as before")
			}
			return nil
		})

		// Another configuration, and one that the module does not take.
		r.routes(map[string]string{"/off": "off", "/other": "{config: anew}"})
		r.meets("/other", "anew", "all", "other")
		r.routes(map[string]string{"/off": "off", "/other": "{config: refused}"})
		r.eventually(func() error {
			status, err := r.server.Status(t.Context())
			if err != nil {
				return err
			}
			for _, n := range status.Nodes {
				for _, f := range n.Filters {
					if strings.HasPrefix(f.Name, "hello@") && f.State == "failed" {
						return nil
					}
				}
			}
			return fmt.Errorf("nobody says that it is refused: %+v", status)
		})
		r.meets("/other", "anew", "all", "other")
		r.meets("/off", "", "all")

		r.kept(version)
		r.routes(map[string]string{"/off": "off", "/other": "{config: anew}"})
		r.eventually(func() error {
			status, err := r.server.Status(t.Context())
			if err == nil && len(status.Filters) != 2 {
				err = fmt.Errorf("want hello and its variant alone: %+v", status.Filters)
			}
			return err
		})
		r.restartServer()
		r.edge.runs("hello")
		r.routes(map[string]string{"/off": "off", "/other": "{config: last}"})
		r.meets("/other", "last", "all", "anew")
		r.meets("/off", "", "all")
		r.routes(nil)
		r.meets("/off", "all")
		r.meets("/other", "all", "last")
		r.kept(version)
		r.end()
	})
}
