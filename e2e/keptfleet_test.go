package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// chainFilter adds its configuration to the header.
var chainFilter = wasmtest.Filter{Header: chainHeader, FromConfig: true}

// keptFleet is an Envoy with a native listener, web, and a raw one, edge, and
// the xds-servers that it may be connected to.
type keptFleet struct {
	*fleet
	second *harness.Upstream
	module string
	at     *edge
	xds    *harness.Proxy
	// servers read one directory; the Envoy is connected to fleet.server.
	servers []*harness.Server
	// published is how many sets each had published before the last write.
	published map[*harness.Server]int
}

// newKeptFleet starts xds-servers, each with these flags, and an Envoy with its
// flags at the first of them. bootstrap are flags of that command.
func newKeptFleet(t *testing.T, c combination, envoy, bootstrap []string, flags ...[]string) *keptFleet {
	t.Helper()
	k := &keptFleet{fleet: newFleet(t), published: map[*harness.Server]int{}}
	var err error
	k.second, err = harness.StartUpstream()
	must(t, err)
	t.Cleanup(func() { must(t, k.second.Close()) })
	k.module = k.fleet.module(chainFilter)
	k.apply(set{chain: []string{"a", "b", "c"}, upstream: k.upstream.Address()})

	for i, args := range flags {
		k.servers = append(k.servers, k.serveIn(filepath.Join(k.dir, fmt.Sprintf("server-%d", i)), args...))
	}
	k.server = k.servers[0]
	k.xds, err = harness.StartProxy(k.server.Addresses.XDS)
	must(t, err)
	t.Cleanup(func() { must(t, k.xds.Close()) })
	config, err := k.server.Bootstrap(k.ctx, "edge-1", append(bootstrap, "--protocol", c.protocol, "--xds-address", k.xds.Address())...)
	must(t, err)
	k.at = k.envoyOf("edge-1", harness.EnvoyConfig{Binary: c.envoy, Bootstrap: config, Workers: 2, Args: envoy})
	return k
}

func (k *keptFleet) listeners() []string  { return []string{"web", "edge"} }
func (k *keptFleet) upstreams() [2]string { return [2]string{k.upstream.Address(), k.second.Address()} }
func (k *keptFleet) envoy() *edge         { return k.at }

func (k *keptFleet) apply(s set) time.Time {
	k.t.Helper()
	for _, server := range k.servers {
		n, err := server.Published()
		must(k.t, err)
		k.published[server] = n
	}
	docs := []string{
		fmt.Sprintf("kind: Listener\nname: web\naddress: 127.0.0.1:0\nroutes: [{prefix: /, upstream: %q, timeout: 0s}]\n", s.upstream),
		k.edgeListener(s.upstream),
	}
	for i, name := range s.chain {
		docs = append(docs, filter(name, k.module, "config: "+name, fmt.Sprintf("order: %d", 10*(i+1))))
	}
	return k.write("all.yaml", strings.Join(docs, "---\n"))
}

// edgeListener is the raw listener. Both clusters are there all the time.
func (k *keptFleet) edgeListener(upstream string) string {
	l := strings.Replace(k.staticListener("edge"), "127.0.0.1, port_value: 0", "127.0.0.2, port_value: 0", 1)
	before, rest, _ := strings.Cut(l, "      route_config:")
	_, filters, _ := strings.Cut(rest, "      http_filters:")
	docs := []string{
		before + "      rds: {route_config_name: edge, config_source: {ads: {}, resource_api_version: V3}}\n      http_filters:" + filters,
		fmt.Sprintf(`"@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
name: edge
virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: /}, route: {cluster: %q, timeout: 0s}}]}]
`, "raw-"+upstream)}
	for _, address := range k.upstreams() {
		host, port, _ := strings.Cut(address, ":")
		docs = append(docs, fmt.Sprintf(`"@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
name: %q
load_assignment: {cluster_name: up, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]}
`, "raw-"+address, host, port))
	}
	return strings.Join(docs, "---\n")
}

// running is nil once the xds-server that the Envoy is at says that all is in
// place of what was written.
func (k *keptFleet) running() error {
	status, err := k.status()
	if err != nil {
		return err
	}
	return status.Done()
}

// status is that of the xds-server that the Envoy is at, once it has published
// what was written.
func (k *keptFleet) status() (*harness.Status, error) {
	if n, err := k.server.Published(); err != nil || n <= k.published[k.server] {
		return nil, fmt.Errorf("it is not published (%d sets are: %v)", n, err)
	}
	return k.server.Status(k.t.Context())
}

func (k *keptFleet) says(s *set) (filters, all bool, err error) {
	status, err := k.status()
	if err != nil {
		return false, false, err
	}
	running := map[string]bool{}
	for _, n := range status.Nodes {
		for _, f := range n.Filters {
			running[f.Name] = n.ID == k.at.id && f.State == "running"
		}
	}
	filters = len(running) == len(s.chain)
	for _, name := range s.chain {
		filters = filters && running[name]
	}
	return filters, status.Done() == nil, nil
}

// settle is what status --wait has.
func (k *keptFleet) settle() time.Duration { return 500 * time.Millisecond }
