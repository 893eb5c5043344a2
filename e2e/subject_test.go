package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"wasmxds/bench/naive"
	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// subject is one Envoy and the server that gives it its filters: xds-server or
// the naive one.
type subject interface {
	// set makes these the Envoy's filters, all at once.
	set(filters []filterSpec) time.Time
	// load sends requests that must pass the filters with these names.
	load(names ...string) *harness.Load
	envoy() *edge
	// modules is the cluster that Envoy fetches modules from.
	modules() string
	// patience is how long to wait for a change to be seen.
	patience() time.Duration
}

// filterSpec is a filter that adds the header x-NAME.
type filterSpec struct {
	name   string
	module wasmtest.Filter
	config string
}

// byModule is a filter whose module has the value.
func byModule(name, value string) filterSpec {
	return filterSpec{name: name, module: wasmtest.Filter{Header: "x-" + name, Value: value}}
}

// byConfig is a filter whose configuration has the value; the module changes
// with build.
func byConfig(name, value, build string) filterSpec {
	return filterSpec{name: name, config: value,
		module: wasmtest.Filter{Header: "x-" + name, FromConfig: true, Log: "build " + build}}
}

// modulesCluster is xds-server's module server in each Envoy.
const modulesCluster = "wasmxds-modules"

// ours is xds-server with one Envoy.
type ours struct {
	*fleet
	edge *edge
}

func newOurs(t *testing.T, c combination, filters ...filterSpec) subject {
	t.Helper()
	o := &ours{fleet: newFleet(t)}
	o.write("web.yaml", o.listener("web"))
	o.set(filters)
	o.serve()
	o.edge = o.fleet.envoy(c, "edge-1")
	return o
}

func (o *ours) set(filters []filterSpec) time.Time {
	o.t.Helper()
	var docs []string
	for _, s := range filters {
		var lines []string
		if s.config != "" {
			lines = append(lines, fmt.Sprintf("config: %q", s.config))
		}
		docs = append(docs, filter(s.name, o.module(s.module), lines...))
	}
	return o.write("filters.yaml", strings.Join(docs, "---\n"))
}

func (o *ours) load(names ...string) *harness.Load { return o.edge.load("web", headersOf(names)...) }
func (o *ours) envoy() *edge                       { return o.edge }
func (o *ours) modules() string                    { return modulesCluster }
func (o *ours) patience() time.Duration            { return patience }

// theirs is the naive server with one Envoy.
type theirs struct {
	*naiveFleet
}

func newTheirs(t *testing.T, c combination, filters ...filterSpec) subject {
	t.Helper()
	return &theirs{newNaiveFleet(t, c, filters...)}
}

func (n *theirs) set(filters []filterSpec) time.Time {
	n.t.Helper()
	return n.push(filters...)
}

func (n *theirs) load(names ...string) *harness.Load { return n.edge.load("web", headersOf(names)...) }
func (n *theirs) envoy() *edge                       { return n.edge }
func (n *theirs) modules() string                    { return n.origin.Address() }
func (n *theirs) patience() time.Duration            { return time.Second }

func headersOf(names []string) []string {
	var headers []string
	for _, n := range names {
		headers = append(headers, "x-"+n)
	}
	return headers
}

// naiveFilters publishes the modules and gives the filters in the naive
// server's terms.
func naiveFilters(o *harness.Origin, filters []filterSpec) []naive.Filter {
	var all []naive.Filter
	for _, s := range filters {
		module := s.module.Module()
		sha := harness.SHA256(module)
		all = append(all, naive.Filter{Name: s.name, URL: o.Put(sha+".wasm", module), SHA256: sha, Config: s.config})
	}
	return all
}
