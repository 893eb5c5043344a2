package e2e

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wasmxds/certs"
	"wasmxds/e2e/harness"
)

// secureFleet is a fleet with TLS and client certificates for all: a client
// may be the node that its certificate names.
type secureFleet struct {
	*fleet
	certs string
}

const whoIsWho = `rules:
- who: [spiffe://wasmxds.dev/node/*]
  ids: [$1]
`

func newSecureFleet(t *testing.T, args ...string) *secureFleet {
	t.Helper()
	s := &secureFleet{fleet: newFleet(t)}
	s.certs = filepath.Join(s.dir, "certs")
	s.renew("edge-1", "edge-2")
	s.policy(whoIsWho)
	s.write("web.yaml", s.listener("web"))
	s.serve(append([]string{"--policy", s.policyFile(),
		"--tls-cert", s.file("server.crt"), "--tls-key", s.file("server.key"), "--tls-client-ca", s.file("ca.crt")}, args...)...)
	return s
}

func (s *secureFleet) file(name string) string { return filepath.Join(s.certs, name) }
func (s *secureFleet) policyFile() string      { return filepath.Join(s.dir, "policy.yaml") }

// renew makes certificates for the server and for clients.
func (s *secureFleet) renew(clients ...string) {
	s.t.Helper()
	_, err := certs.Dev(s.certs, certs.Development{Clients: clients})
	must(s.t, err)
}

func (s *secureFleet) policy(content string) {
	s.t.Helper()
	temporary := filepath.Join(s.dir, "policy.new")
	must(s.t, os.WriteFile(temporary, []byte(content), 0o644))
	must(s.t, os.Rename(temporary, s.policyFile()))
}

// edge starts the Envoy id, which has the certificate of another; "": none.
func (s *secureFleet) edge(c combination, id, certificate string, args ...string) *edge {
	s.t.Helper()
	args = append([]string{"--ca", s.file("ca.crt"), "--modules-url", "https://" + s.server.Addresses.Modules,
		"--secrets-dir", filepath.Join(s.dir, "secrets-"+id)}, args...)
	if certificate != "" {
		args = append(args, "--cert", s.file("client-"+certificate+".crt"), "--key", s.file("client-"+certificate+".key"))
	}
	return s.envoy(c, id, args...)
}

// logged waits for a text in a log.
func (s *secureFleet) logged(log, text string) {
	s.t.Helper()
	s.eventually(func() error {
		b, err := os.ReadFile(log)
		if err == nil && !strings.Contains(string(b), text) {
			err = fmt.Errorf("%s does not say %q", filepath.Base(log), text)
		}
		return err
	})
}

// TestTLS swaps filters on Envoys that reach everything by TLS and show who
// they are, while all certificates are renewed.
func TestTLS(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		s := newSecureFleet(t)
		s.hello("1")
		e := s.edge(c, "edge-1", "edge-1")
		l := e.load("web", "x-hello")
		s.seen(l, e.Started, "x-hello", "1")
		s.seen(l, s.hello("2"), "x-hello", "2")

		// New certificates for both sides: the stream that is open goes on,
		// and modules come over connections with the new ones.
		s.renew("edge-1")
		s.eventually(func() error {
			b, err := os.ReadFile(s.server.Log())
			if n := strings.Count(string(b), "certificate loaded"); err == nil && n != 2 {
				err = fmt.Errorf("%d certificates were loaded, not 2", n)
			}
			return err
		})
		s.seen(l, s.hello("3"), "x-hello", "3")
		e.runs("hello")
		if stats, err := e.Stats(t.Context(), `^(cluster_manager\.cds\.update_rejected|control_plane\.connected_state|cluster\.wasmxds\.upstream_cx_total)$`); err != nil ||
			stats["control_plane.connected_state"] != 1 || stats["cluster.wasmxds.upstream_cx_total"] != 1 || stats["cluster_manager.cds.update_rejected"] != 0 {
			t.Errorf("the Envoy's stream did not go on: %v, %v", stats, err)
		}

		// A server that starts again has the new one, and the Envoy shows its
		// own.
		s.restartServer()
		s.seen(l, s.hello("4"), "x-hello", "4")
		s.good(l)
	})
}

// TestNoTLS: an Envoy that shows no certificate, or speaks no TLS, gets
// neither resources nor modules, and one that shows another's may not be what
// it says.
func TestNoTLS(t *testing.T) {
	for _, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			c := combination{envoy, "delta"}
			s := newSecureFleet(t)
			s.hello("1")
			good := s.edge(c, "edge-1", "edge-1")
			l := good.load("web", "x-hello")
			s.seen(l, good.Started, "x-hello", "1")

			strangers := []*edge{
				s.edge(c, "edge-without", ""),
				s.edge(c, "edge-3", "edge-2"),
				s.envoy(c, "edge-plain"),
			}
			s.logged(s.server.Log(), `msg="refused a node" node=edge-3`)
			s.logged(s.server.Log(), `spiffe://wasmxds.dev/node/edge-2 may not be node \"edge-3\", only edge-2`)
			s.logged(strangers[1].Log(), `7, spiffe://wasmxds.dev/node/edge-2 may not be node "edge-3", only edge-2`)
			for _, e := range strangers {
				s.eventually(func() error { return e.failed() })
				if err := e.Ready(t.Context()); err == nil {
					t.Errorf("%s is ready", e.id)
				}
				if at, err := e.Listener(t.Context(), "web"); err == nil {
					t.Errorf("%s has a listener at %s", e.id, at)
				}
			}
			s.good(l)
		})
	}
}

// failed is nil once the Envoy has tried for resources in vain, more than
// once.
func (e *edge) failed() error {
	stats, err := e.Stats(e.f.t.Context(), `^cluster\.wasmxds\.upstream_cx_connect_fail$|^cluster\.wasmxds\.upstream_rq_total$|^cluster_manager\.cds\.update_(success|attempt)$|^control_plane\.connected_state$`)
	if err != nil {
		return err
	}
	if stats["cluster_manager.cds.update_success"] > 0 {
		e.f.t.Errorf("%s got resources", e.id)
	}
	if stats["cluster.wasmxds.upstream_cx_connect_fail"]+stats["cluster.wasmxds.upstream_rq_total"] < 2 {
		return fmt.Errorf("%s has not tried yet: %v", e.id, stats)
	}
	return nil
}

// TestPolicyChanges: what a policy no longer allows ends, and what it allows
// again comes back; one that is wrong changes nothing.
func TestPolicyChanges(t *testing.T) {
	s := newSecureFleet(t)
	s.hello("1")
	one, two := s.edge(newest(), "edge-1", "edge-1"), s.edge(newest(), "edge-2", "edge-2")
	loads := []*harness.Load{one.load("web", "x-hello"), two.load("web", "x-hello")}
	for _, l := range loads {
		s.seen(l, one.Started, "x-hello", "1")
	}

	s.policy("rules: [{whom: nobody}]")
	s.logged(s.server.Log(), "the one from before stays in force")
	s.eventually(func() error {
		status, err := s.server.Status(t.Context())
		if err == nil && (len(status.Definitions.Errors) == 0 || status.Definitions.Errors[0].File != s.policyFile() || len(status.Nodes) != 2) {
			err = fmt.Errorf("the status has the errors %+v and %d nodes", status.Definitions.Errors, len(status.Nodes))
		}
		return err
	})

	s.policy("rules:\n- who: [spiffe://wasmxds.dev/node/edge-1]\n  ids: [edge-1]\n")
	s.logged(s.server.Log(), "ended the stream of a node that is no longer allowed")
	s.eventually(func() error {
		status, err := s.server.Status(t.Context())
		if err != nil {
			return err
		}
		connected := map[string]bool{}
		for _, n := range status.Nodes {
			connected[n.ID] = n.AwaySince.IsZero()
		}
		// Its filters go on running: the status keeps what is away.
		if !maps.Equal(connected, map[string]bool{"edge-1": true, "edge-2": false}) {
			err = fmt.Errorf("nodes, and whether they are connected: %v", connected)
		}
		return err
	})
	start := s.hello("2")
	s.seen(loads[0], start, "x-hello", "2")
	if _, err := loads[1].Seen("x-hello", "2"); err == nil {
		t.Error("edge-2 has what it may not have")
	}

	s.policy(whoIsWho)
	s.seen(loads[1], start, "x-hello", "2")
	for _, l := range loads {
		s.good(l)
	}
}
