package e2e

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"wasmxds/bench/naive"
	"wasmxds/e2e/harness"
)

// naiveBootstrap is what a node of the naive server needs.
const naiveBootstrap = `
node: {id: ID, cluster: edge}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  ads_config:
    api_type: API
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services: [{envoy_grpc: {cluster_name: xds}}]
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    load_assignment:
      cluster_name: xds
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: PORT}}}}]}]
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
`

// naiveFleet is one Envoy at the naive server.
type naiveFleet struct {
	*fleet
	server  *naive.Server
	origin  *harness.Origin
	edge    *edge
	version int
}

func newNaiveFleet(t *testing.T, c combination, filters ...filterSpec) *naiveFleet {
	t.Helper()
	n := &naiveFleet{fleet: newFleet(t), server: naive.New()}
	var err error
	n.origin, err = harness.StartOrigin()
	must(t, err)
	t.Cleanup(func() { must(t, n.origin.Close()) })

	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error { return n.server.Serve(ctx, l) })
	t.Cleanup(func() {
		cancel()
		must(t, g.Wait())
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	api := map[string]string{"sotw": "GRPC", "delta": "DELTA_GRPC"}[c.protocol]
	n.push(filters...)
	n.edge = n.envoyWith(c, "naive", []byte(strings.NewReplacer("ID", "naive", "PORT", port, "API", api).Replace(naiveBootstrap)))
	return n
}

// push publishes the modules and has the Envoy run the filters.
func (n *naiveFleet) push(filters ...filterSpec) time.Time {
	n.t.Helper()
	return n.pushTo(n.upstream.Address(), filters...)
}

// pushTo does so before an upstream.
func (n *naiveFleet) pushTo(upstream string, filters ...filterSpec) time.Time {
	n.t.Helper()
	n.version++
	e := naive.Edge{Listen: "127.0.0.1:0", Upstream: upstream, Filters: naiveFilters(n.origin, filters)}
	r, err := e.Resources()
	must(n.t, err)
	must(n.t, n.server.Set(n.t.Context(), "naive", n.version, r))
	return time.Now()
}

// What xds-server is for: the server that one writes first loses the filter
// when its module changes.
func TestNaiveSwaps(t *testing.T) {
	for _, s := range swapScenes() {
		play := func(t *testing.T, c combination) {
			r := s.play(t, max(1, s.swaps/5), newTheirs(t, c, s.all(0)...)) // each lost one is waited for
			t.Log(r)
			report.addTheirs(s.name, c, r)
			if s.fetches > 0 && r.counts.Unfiltered+r.counts.Failed == 0 {
				t.Error("each request was answered, and through its filters")
			}
		}
		t.Run(s.name, func(t *testing.T) {
			if report != nil {
				eachCombination(t, play)
			} else {
				play(t, newest())
			}
		})
	}
}
