package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/state/statetest/etcdtest"
)

// TestTwoBuildsBesideEachOther: two builds of xds-server share a state. An Envoy that goes
// from one to the other is sent nothing, and a change goes on, whichever leads.
func TestTwoBuildsBesideEachOther(t *testing.T) {
	t.Parallel() // it mostly waits
	other := filepath.Join(t.TempDir(), "xds-server")
	buildOther(t, other)
	newestOrAll(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 3, slowPolicy)
		const own, others = 0, 1
		at := j.servers[others].Addresses.XDS
		must(t, j.servers[others].Stop())
		j.program = other
		j.servers[others] = j.serveIn(filepath.Join(j.dir, "server-other"), "--etcd", j.lines[others].Address(),
			"--operate-token-file", j.operator, "--xds-listen", at)
		j.server = j.servers[own]
		j.settled("good", j.servers...)
		change, has := j.inWave("new", j.hello("new"))
		before := sent(t, j.servers[others])
		j.servers[own].Kill()
		j.server = j.servers[others]
		j.haveComeOver()
		j.leader(others)
		for _, e := range j.edges {
			e.runs("hello")
		}
		j.haveStill("new", has)
		if after := sent(t, j.server); !maps.Equal(after, before) {
			t.Errorf("to Envoys that came to the other build was sent %v; before %v", after, before)
		}
		must(t, j.servers[own].Start(j.ctx))
		j.settledIn("new", has)
		must(t, j.promote(j.servers[own], change))
		j.settled("new", j.servers...)
		j.ends()
	})
}

// settledIn waits until all servers hear each other while those Envoys alone have a
// version.
func (j *several) settledIn(value, has string) {
	j.t.Helper()
	j.eventually(func() error {
		for _, s := range j.servers {
			st, err := s.Status(j.t.Context())
			if err != nil {
				return err
			}
			if i := slices.IndexFunc(st.Replicas, func(r harness.Replica) bool { return r.Lives && r.Trouble != "" }); i >= 0 {
				return fmt.Errorf("%+v", st.Replicas[i])
			}
		}
		return nil
	})
	j.haveStill(value, has)
}

// newcomer starts an Envoy that knows the fleet's server alone, and its load, whose
// requests must all have headers, and waits until one has a header.
func (j *several) newcomer(c combination, header, value string, all ...string) {
	j.t.Helper()
	e := j.envoy(c, "edge-new", "--xds-address", j.server.Addresses.XDS)
	load := j.load
	load.Address, load.Headers = e.address("web"), all
	l := harness.StartLoad(j.ctx, load)
	j.t.Cleanup(func() { l.Stop() })
	j.t.Logf("a new Envoy serves after %v", j.seen(l, e.Started, header, value).Round(time.Millisecond))
	j.edges, j.loads = append(j.edges, e), append(j.loads, l)
}

// TestCutFromEachOther: servers that reach the state and their Envoys, but not each other,
// do what is written. No wave begins, and each says why.
func TestCutFromEachOther(t *testing.T) {
	t.Parallel() // it mostly waits
	newestOrAll(t, func(t *testing.T, c combination) {
		etcd := etcdtest.Start(t, 1).Members[0].Address()
		var between []*harness.Proxy
		j := startSeveralBy(t, c, 2, 3, slowPolicy, etcd, func(line string) []string {
			p, err := harness.StartProxy("")
			must(t, err)
			t.Cleanup(func() { must(t, p.Close()) })
			between = append(between, p)
			return []string{"--etcd", line, "--peer-address", p.Address()}
		}, func(i int, s *harness.Server) { between[i].Target(s.Addresses.Peer) })
		at := j.leader()
		for _, p := range between {
			p.Down()
		}
		for i, says := range map[int]string{at: "the leader can't reach it", 1 - at: "connect"} {
			j.eventually(func() error {
				st, err := j.servers[i].Status(t.Context())
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(st.Replicas, func(r harness.Replica) bool { return strings.Contains(r.Trouble, says) }) {
					return fmt.Errorf("%+v", st.Replicas)
				}
				return nil
			})
		}
		// What no policy is for goes to the Envoys of both, and to new ones.
		written := j.write("other.yaml", filter("other", j.module(wasmtest.Filter{Header: "x-other", Value: "1"})))
		j.server = j.servers[1-at]
		j.newcomer(c, "x-other", "1", "x-hello")
		for _, l := range j.loads {
			j.seen(l, written, "x-other", "1")
		}
		j.server = j.servers[at]
		written = j.hello("new")
		j.eventually(func() error {
			c, err := j.server.Newest(t.Context(), "hello", written.Add(-time.Second))
			if err == nil && c.Wave != 0 {
				err = fmt.Errorf("%+v", c)
			}
			return err
		})
		if now := j.have("new"); now != "" {
			t.Errorf("%q have it, and the leader does not hear of all", now)
		}
		for _, p := range between {
			p.Up()
		}
		change, _ := j.inWave("new", written)
		must(t, j.promote(j.servers[1-at], change))
		j.eventually(func() error { return j.all("new") })
		j.ends()
	})
}

// TestStartsWhileStateIsSlow: while it takes long until what the leader's Envoys have is
// written down, a server that starts gives new Envoys no less.
func TestStartsWhileStateIsSlow(t *testing.T) {
	t.Parallel() // it mostly waits
	newestOrAll(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 1, slowPolicy)
		at := j.leader()
		must(t, j.servers[1-at].Stop())
		j.server = j.servers[at]
		j.haveComeOver()
		j.lines[at].Delay(time.Second, time.Second)
		j.write("pinned.yaml", filter("pinned", j.module(wasmtest.Filter{Header: "x-pinned", Value: "1"})))
		j.seen(j.loads[0], time.Now(), "x-pinned", "1")
		must(t, j.servers[1-at].Start(j.ctx))
		j.server = j.servers[1-at]
		j.newcomer(c, "x-pinned", "1", "x-hello", "x-pinned")
		j.lines[at].Delay(0, 0)
		j.ends()
	})
}
