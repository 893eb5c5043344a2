package e2e

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/source/kube/kubetest"
	"wasmxds/state/statetest/etcdtest"
)

// several are xds-servers of one state, and Envoys that know all of them. No wave ends by
// itself, unless a scene says otherwise.
type several struct {
	*shared
	servers []*harness.Server
	lines   []*harness.Proxy // from each server to the state
}

// countedPolicy is killedPolicy without a share, of which who comes later would take a
// place.
const countedPolicy = "waves: [1, 2, 100%]\nbake: 2s\nstop: " + atOnceAlone + "\n"

// startSeveral starts servers whose state is in etcd, the first of which leads, and
// Envoys.
func startSeveral(t *testing.T, c combination, servers, envoys int, policy string) *several {
	t.Helper()
	etcd := etcdtest.Start(t, 1).Members[0].Address()
	return startSeveralBy(t, c, servers, envoys, policy, etcd, func(line string) []string { return []string{"--etcd", line} })
}

// startSeveralBy starts servers whose state is at an address, which they reach as flags
// say. Of each that was started it is told.
func startSeveralBy(t *testing.T, c combination, servers, envoys int, policy, state string, flags func(line string) []string, started ...func(i int, s *harness.Server)) *several {
	t.Helper()
	j := &several{shared: &shared{rolling: &rolling{fleet: newFleet(t), load: shop}, operator: newOperator(t)}}
	j.write("policy.yaml", "kind: Rollout\nname: careful\n"+policy)
	j.write("web.yaml", j.routed("/shop"))
	j.write("hello.yaml", filter("hello", j.module(goodFilter)))
	for i := range servers {
		line, err := harness.StartProxy(state)
		must(t, err)
		t.Cleanup(func() { must(t, line.Close()) })
		j.lines = append(j.lines, line)
		j.servers = append(j.servers, j.serveIn(filepath.Join(j.dir, fmt.Sprint("server-", i)),
			append(flags(line.Address()), "--operate-token-file", j.operator)...))
		j.server = j.servers[i]
		for _, tell := range started {
			tell(i, j.server)
		}
		j.eventually(func() error { return up(t.Context(), j.server) })
	}
	var xds []string
	for _, s := range j.servers {
		xds = append(xds, s.Addresses.XDS)
	}
	for i := range envoys {
		e := j.envoy(c, fmt.Sprintf("edge-%d", i+1), "--hang-timeout", "3s", "--xds-address", strings.Join(xds, ","))
		j.edges = append(j.edges, e)
		j.serves(e)
	}
	j.settled("good", j.servers...)
	return j
}

// settled waits until these servers have all Envoys, one of them leads, and all run what
// is wanted, of that value, wherever they are.
func (j *several) settled(value string, servers ...*harness.Server) {
	j.t.Helper()
	j.eventually(func() error {
		leads := 0
		for _, s := range servers {
			st, err := s.Status(j.t.Context())
			if err != nil {
				return err
			}
			if n := st.Envoys; n.Connected != len(j.edges) || n.Awaited != 0 {
				return fmt.Errorf("%+v are counted, of %d Envoys", n, len(j.edges))
			}
			if stand(st) == "leads" {
				leads++
			}
			for _, r := range st.Replicas {
				if r.Lives && r.Trouble != "" {
					return fmt.Errorf("%+v", r)
				}
			}
		}
		if leads != 1 {
			return fmt.Errorf("%d servers lead", leads)
		}
		return j.all(value)
	})
}

// stand is that of the server whose status it is.
func stand(s *harness.Status) string {
	for _, r := range s.Replicas {
		if r.Self {
			return r.Stand
		}
	}
	return ""
}

// all looks whether all Envoys serve with a version of the filter.
func (j *several) all(value string) error {
	for i, l := range j.loads {
		if last := l.LastSeen("x-hello", value); time.Since(last) > 200*time.Millisecond {
			return fmt.Errorf("%s does not serve with %s", j.edges[i].id, value)
		}
	}
	return nil
}

// leader is the server that leads, among those that are asked.
func (j *several) leader(among ...int) (leader int) {
	j.t.Helper()
	if len(among) == 0 {
		among = []int{0, 1, 2}[:len(j.servers)]
	}
	j.eventually(func() error {
		var errs []error
		for _, i := range among {
			st, err := j.servers[i].Status(j.t.Context())
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if stand(st) == "leads" {
				leader = i
				return nil
			}
			errs = append(errs, fmt.Errorf("server %d: %+v", i, st.Replicas))
		}
		return errors.Join(errs...)
	})
	return leader
}

// haveComeOver waits until all Envoys are connected to the fleet's server.
func (j *several) haveComeOver() {
	j.t.Helper()
	j.eventually(func() error {
		n, err := streamsOf(j.t.Context(), j.server)
		if err == nil && n != len(j.edges) {
			err = fmt.Errorf("%d Envoys are connected, want %d", n, len(j.edges))
		}
		return err
	})
}

// ends ends all loads, which were good.
func (j *several) ends() {
	j.t.Helper()
	for _, l := range j.loads {
		j.good(l)
	}
}

// TestLeaderKilledInWaves: the server that moves a change is killed at any point of it,
// and comes back at once, or when another leads. No Envoy is ahead of its wave.
func TestLeaderKilledInWaves(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 4, countedPolicy)
		kills := 0
		j.killed(func() {
			at := j.leader()
			j.servers[at].Kill()
			if kills++; kills%2 == 0 {
				if now := j.leader(1 - at); now == at {
					t.Error("the dead one leads")
				}
			}
			must(t, j.servers[at].Start(j.ctx))
			j.server = j.servers[1-at]
		}, []int{1, 2, 4})
	})
}

// TestLeaderPaused: a leader that is paused for longer than its lease, in the middle of a
// wave, does nothing when it is back that another has not written.
func TestLeaderPaused(t *testing.T) {
	startSeveral(t, newest(), 2, 3, slowPolicy).leaderPaused()
}

// TestLeaderPausedInKubernetes: the same with a state in Secrets.
func TestLeaderPausedInKubernetes(t *testing.T) {
	cluster := kubetest.Start(t)
	cluster.Apply(kubetest.CRDs(t))
	cluster.Namespace("own")
	j := startSeveralBy(t, newest(), 2, 3, slowPolicy, strings.TrimPrefix(cluster.Config.Host, "https://"), func(line string) []string {
		return inKubernetes(cluster, "own", "https://"+line)
	})
	j.leaderPaused()
}

func (j *several) leaderPaused() {
	t := j.t
	written := j.hello("new")
	change, has := j.inWave("new", written)
	at := j.leader()
	must(t, syscall.Kill(j.servers[at].PID(), syscall.SIGSTOP))
	paused := time.Now()
	j.leader(1 - at)
	t.Logf("another leads after %v", time.Since(paused).Round(time.Millisecond))
	j.server = j.servers[1-at]
	j.haveComeOver()
	j.haveStill("new", has)
	must(t, j.promote(j.server, change))
	j.eventually(func() error { return j.all("new") })
	must(t, syscall.Kill(j.servers[at].PID(), syscall.SIGCONT))
	j.settled("new", j.servers...)
	if now := j.leader(); now == at {
		t.Error("it leads again")
	}
	// Both tell the same, and the next change goes its way.
	next, _ := j.inWave("newer", j.hello("newer"))
	must(t, j.promote(j.servers[at], next))
	j.settled("newer", j.servers...)
	j.ends()
}

// TestFollowerKilled: Envoys whose server is killed in a wave have, at another, what they
// had, and are sent nothing.
func TestFollowerKilled(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 4, slowPolicy)
		change, has := j.inWave("new", j.hello("new"))
		at := j.leader()
		before := sent(t, j.servers[at])
		j.servers[1-at].Kill()
		j.server = j.servers[at]
		j.haveComeOver()
		for _, e := range j.edges {
			e.runs("hello")
		}
		j.haveStill("new", has)
		if after := sent(t, j.servers[at]); !maps.Equal(after, before) {
			t.Errorf("to Envoys that came over was sent %v; before %v", after, before)
		}
		must(t, j.promote(j.server, change))
		j.eventually(func() error { return j.all("new") })
		j.ends()
	})
}

// TestRollingRestart: all servers are restarted one after the other, with a swap that no
// policy is for, and a change in its waves.
func TestRollingRestart(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 3, 4, slowPolicy)
		change, has := j.inWave("new", j.hello("new"))
		for i, s := range j.servers {
			j.write("other.yaml", filter("other", j.module(wasmtest.Filter{Header: "x-other", Value: fmt.Sprint(i)})))
			must(t, s.Stop())
			must(t, s.Start(j.ctx))
			j.server = s
			j.eventually(func() error { return up(t.Context(), s) })
			for _, l := range j.loads {
				j.seen(l, time.Now(), "x-other", fmt.Sprint(i))
			}
			j.haveStill("new", has)
		}
		j.leader()
		must(t, j.promote(j.servers[1], change))
		j.settled("new", j.servers...)
		j.ends()
	})
}

// TestCutFromEtcd: a server that reaches Envoys, but not etcd, leaves them what they have
// until it reaches etcd again; another moves changes.
func TestCutFromEtcd(t *testing.T) {
	j := startSeveral(t, newest(), 2, 4, slowPolicy)
	change, has := j.inWave("new", j.hello("new"))
	at := j.leader()
	j.lines[at].Down()
	j.leader(1 - at)
	j.eventually(func() error { // it says so, and is heard by the other
		st, err := j.servers[at].Status(t.Context())
		if err != nil {
			return err
		}
		if stand(st) != "on its own" {
			return fmt.Errorf("%+v", st.Replicas)
		}
		return nil
	})
	// What no policy is for goes on everywhere.
	j.write("other.yaml", filter("other", j.module(wasmtest.Filter{Header: "x-other", Value: "1"})))
	for _, l := range j.loads {
		j.seen(l, time.Now(), "x-other", "1")
	}
	j.haveStill("new", has)
	must(t, j.promote(j.servers[1-at], change))
	j.lines[at].Up()
	j.settled("new", j.servers...)
	j.ends()
}

// TestSeenAtDifferentTimes: servers that read the definitions at different times, either
// of them first, do as the one that leads has read.
func TestSeenAtDifferentTimes(t *testing.T) {
	j := startSeveral(t, newest(), 2, 3, slowPolicy)
	at := j.leader()
	both := []string{j.definitions, filepath.Join(j.dir, "later")}
	must(t, os.CopyFS(both[1], os.DirFS(both[0])))
	// The follower reads another directory from now on.
	must(t, j.servers[1-at].Stop())
	j.servers[1-at] = j.serveIn(filepath.Join(j.dir, "server-later"), "--definitions", both[1], "--etcd", j.lines[1-at].Address(),
		"--operate-token-file", j.operator, "--xds-listen", j.servers[1-at].Addresses.XDS)
	j.settled("good", j.servers...)
	to := func(dir, value string) time.Time {
		j.definitions = dir
		return j.hello(value)
	}
	// The one that follows is first: nobody has anything of it before the other has read it.
	written := to(both[1], "new")
	time.Sleep(3 * time.Second) // nothing is to happen
	if now := j.have("new"); now != "" {
		t.Errorf("%q have what the leader has not read", now)
	}
	module := fmt.Sprintf("module-%d.wasm", j.modules)
	j.definitions = both[0]
	j.write("hello.yaml", filter("hello", "../"+module))
	j.server = j.servers[at]
	change, _ := j.inWave("new", written)
	must(t, j.promote(j.servers[1-at], change))
	j.settled("new", j.servers...)
	// The one that leads is first.
	written = to(both[0], "newer")
	change, _ = j.inWave("newer", written)
	must(t, j.promote(j.servers[at], change))
	j.settled("newer", j.servers...)
	j.ends()
}
