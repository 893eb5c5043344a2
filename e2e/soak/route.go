package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"wasmxds/bench/fleet"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// The routes of the listener that gets requests: one on which a filter is always off,
// one that has filters off and with other configurations as it comes, and the rest.
const (
	withoutOne = "/without-one"
	changing   = "/changing"
	remaining  = "/"
)

var prefixes = []string{withoutOne, changing, remaining}

// switched is the filter that is off on one route for ever and on another at times. The
// other lasting ones run on each route, in some configuration.
const switched = "one"

// misrouted is a filter that a route has with a configuration that it refuses, at times.
const misrouted = "two"

// refused is a configuration that the modules of lasting filters don't take.
const refused = "a configuration that is refused for its length"

// routes are what the listener's routes say of filters.
type routes struct {
	configs map[string]string // of filters: what was written last
	says    map[string]string // of filters, on the route that changes: a configuration, or "" for off
}

func (r *routes) wrote(filter, config string) {
	if r.configs == nil {
		r.configs = map[string]string{}
	}
	r.configs[filter] = config
}

// reroute has the routes say something else.
func (s *stage) reroute() error {
	s.choose()
	return s.write("web", s.web())
}

// choose decides at random what the routes are to say.
func (s *stage) choose() {
	s.routes.says = map[string]string{}
	for _, filter := range lasting[:2] {
		switch n := s.random.IntN(4); {
		case n == 0 && filter == switched:
			s.routes.says[filter] = ""
		case n < 3:
			s.routes.says[filter] = fmt.Sprintf("%s variant %d", fleet.Mark(s.revision+1), n)
		}
	}
}

// misroute has a route say for a while what the filter's module refuses.
func (s *stage) misroute(ctx context.Context, verify string) error {
	s.routes.says = map[string]string{misrouted: refused}
	return errors.Join(s.put(misrouted, wasmtest.Filter{Value: strconv.Itoa(s.revision)}, verify), s.write("web", s.web()),
		wait(ctx, time.Duration(s.random.IntN(1500))*time.Millisecond), s.reroute())
}

// mendVariants gives what routes have with other configurations a good module: an Envoy
// that starts has no routes from before, and waits for theirs.
func (s *stage) mendVariants() error {
	for _, name := range lasting {
		if s.routes.says[name] == "" {
			continue
		}
		if err := s.put(name, wasmtest.Filter{Value: strconv.Itoa(s.revision)}, ""); err != nil {
			return err
		}
	}
	return nil
}

// web is the listener that gets requests.
func (s *stage) web() string {
	var filters []string
	for _, name := range lasting {
		if config, said := s.routes.says[name]; said && config == "" {
			filters = append(filters, name+": off")
		} else if said {
			filters = append(filters, fmt.Sprintf("%s: {config: %q}", name, config))
		}
	}
	return fmt.Sprintf(`kind: Listener
name: web
address: 127.0.0.1:0
routes:
- {prefix: %[2]s, upstream: %[1]q, filters: {%[3]s: off}}
- {name: changing, prefix: %[4]s, upstream: %[1]q, filters: {%[5]s}}
- {prefix: %[6]s, upstream: %[1]q}
`, s.upstream.Address(), withoutOne, switched, changing, strings.Join(filters, ", "), remaining)
}

// loadOf are requests of a route, and the filters that each must meet and must not.
func loadOf(prefix, address string) harness.LoadConfig {
	config := harness.LoadConfig{Address: address, Path: prefix, Pause: 20 * time.Millisecond}
	for _, name := range lasting {
		switch {
		case name != switched || prefix == remaining:
			config.Headers = append(config.Headers, "x-"+name)
		case prefix == withoutOne:
			config.Without = append(config.Without, "x-"+name)
		}
	}
	return config
}

// has is the configuration in which a filter runs on a route; "": it is off.
func (r *routes) has(prefix, filter string) (config string, goal fleet.Treatment) {
	if prefix == withoutOne && filter == switched {
		return "", fleet.Off
	}
	if config, said := r.says[filter]; said && prefix == changing {
		if config == "" {
			return "", fleet.Off
		}
		return config, fleet.Variant
	}
	return r.configs[filter], fleet.Itself
}

// goals are what requests to played Envoys are to meet.
func (r *routes) goals() []fleet.RouteGoal {
	var all []fleet.RouteGoal
	for _, prefix := range prefixes {
		for _, filter := range lasting {
			_, treatment := r.has(prefix, filter)
			all = append(all, fleet.RouteGoal{Prefix: prefix, Filter: filter, Treatment: treatment})
		}
	}
	return all
}

// variants is how many there are.
func (r *routes) variants() int {
	n := 0
	for _, config := range r.says {
		if config != "" {
			n++
		}
	}
	return n
}

// asked is nil when a request of each route meets what the routes say, once.
func (s *stage) asked(ctx context.Context, e *envoy) error {
	address, err := e.Listener(ctx, "web")
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport}
	var errs []error
	for _, prefix := range prefixes {
		got, err := harness.Request(ctx, client, "http://"+address+prefix, nil)
		if err != nil {
			return err
		}
		for _, filter := range lasting {
			var want []string
			if config, _ := s.routes.has(prefix, filter); config != "" {
				want = []string{config}
			}
			if met := got.Values("x-" + filter); !slices.Equal(met, want) {
				errs = append(errs, fmt.Errorf("%s: a request of %s met filter %s with %q, want %q", e.id, prefix, filter, met, want))
			}
		}
	}
	return errors.Join(errs...)
}
