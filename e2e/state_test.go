package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/source/kube/kubetest"
	"wasmxds/state/statetest/etcdtest"
)

// shared is a rollout whose state is elsewhere. No wave ends by itself.
type shared struct {
	*rolling
	operator string // file of the token
}

const slowPolicy = "match: {definitions: [hello]}\nwaves: [1, 100%]\nbake: 1h\nstop: " + atOnceAlone + "\n"

func share(t *testing.T, c combination, flags ...string) *shared {
	t.Helper()
	operator := newOperator(t)
	return &shared{roll(t, c, 3, shop, slowPolicy, append(flags, "--operate-token-file", operator)...), operator}
}

// newOperator writes the file of an operator's token.
func newOperator(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "operator")
	must(t, os.WriteFile(file, []byte("an operator's token of some length"), 0o600))
	return file
}

// inEtcd has the state in etcd, inKubernetes in a cluster.
func inEtcd(etcd *etcdtest.Cluster) []string {
	return []string{"--etcd", strings.Join(etcd.Endpoints(), ","), "--state", "etcd"}
}

func inKubernetes(cluster *kubetest.Server, namespace string, host ...string) []string {
	return []string{"--state", "kubernetes", "--kubeconfig", cluster.Kubeconfig("admin", host...), "--state-namespace", namespace,
		"--kubernetes", "--kubernetes-status", "--root-namespace", namespace}
}

// have are the Envoys that serve with a version of the filter now.
func (s *shared) have(value string) string {
	var ids []string
	for i, l := range s.loads {
		if time.Since(l.LastSeen("x-hello", value)) < 200*time.Millisecond {
			ids = append(ids, s.edges[i].id)
		}
	}
	return strings.Join(ids, " ")
}

// haveStill looks whether the same Envoys have a version as before.
func (s *shared) haveStill(value, before string) {
	s.t.Helper()
	if now := s.have(value); now != before {
		s.t.Errorf("%q have it, want %q", now, before)
	}
}

// inWave waits until a change is in its first wave, and its Envoy alone has it.
func (s *shared) inWave(value string, written time.Time) (change harness.Change, has string) {
	s.t.Helper()
	s.eventually(func() (err error) {
		if change, err = s.server.Newest(s.t.Context(), "hello", written.Add(-time.Second)); err != nil {
			return err
		}
		if has = s.have(value); change.Wave != 1 || change.Settled != 1 || has == "" || strings.Contains(has, " ") {
			return fmt.Errorf("%q have it: %+v", has, change)
		}
		return nil
	})
	return change, has
}

// untouched waits until all Envoys are back at a server, and looks whether anything was
// sent to them.
func (s *shared) untouched() {
	s.t.Helper()
	s.eventually(func() error { return up(s.t.Context(), s.server) })
	for _, e := range s.edges {
		e.runs("hello")
	}
	for series, n := range sent(s.t, s.server) {
		if n != "0" {
			s.t.Errorf("after the restart was sent %s: %s", series, n)
		}
	}
}

// emptied has the server killed, and started again with nothing on its disk.
func (f *fleet) emptied() {
	f.t.Helper()
	f.server.Kill()
	must(f.t, os.RemoveAll(filepath.Join(f.dir, "data")))
	must(f.t, f.server.Start(f.ctx))
}

// complains waits until a server warns of a place.
func (s *shared) complains(of string) {
	s.t.Helper()
	s.eventually(func() error {
		status, err := s.server.Status(s.t.Context())
		if err != nil {
			return err
		}
		for _, p := range status.Definitions.Warnings {
			if strings.Contains(p.File, of) {
				return nil
			}
		}
		return fmt.Errorf("the status says nothing of it: %+v", status.Definitions.Warnings)
	})
}

// promote asks a server to have a change go everywhere.
func (s *shared) promote(by *harness.Server, c harness.Change) error {
	return s.operate(by, "promote", c)
}

// operate gives a server a command about a change.
func (s *shared) operate(by *harness.Server, verb string, c harness.Change) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	_, err := by.Run(ctx, "rollout", verb, c.ID, "--admin", "http://"+by.Addresses.Admin, "--admin-token-file", s.operator)
	return err
}

// promoted has a change go everywhere.
func (s *shared) promoted(c harness.Change, value string, written time.Time) {
	s.t.Helper()
	s.eventually(func() error { // after a restart it may take a while until this server leads
		return s.promote(s.server, c)
	})
	for _, l := range s.loads {
		s.seen(l, written, "x-hello", value)
		s.good(l)
	}
}

// TestEmptyDisk: an xds-server that is killed in the middle of a rollout, and started
// with nothing on its disk, goes on from what is in etcd.
func TestEmptyDisk(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		s := share(t, c, inEtcd(etcdtest.Start(t, 1))...)
		written := s.hello("new")
		before, has := s.inWave("new", written)
		s.emptied()
		s.untouched()
		after, now := s.inWave("new", written)
		if after.ID != before.ID || !after.Opened.Equal(before.Opened) || now != has {
			t.Errorf("%q have it in %+v; before %q in %+v", now, after, has, before)
		}
		// A new Envoy has what is in the base, though no definition says so any more.
		s.serves(s.start(c, "edge-9"))
		s.promoted(after, "new", written)
	})
}

// TestEmptiedInWaves: the same at any point of a rollout. Which Envoys there are is lost
// with the disk, so a wave of a share may be of those that are back, and reach all of
// them; one of a number may not reach more.
func TestEmptiedInWaves(t *testing.T) {
	if !*all {
		t.Skip("it takes a minute and a half, and is played with -all; TestEmptyDisk and TestKilledInWaves are always")
	}
	r := roll(t, newest(), 4, shop, killedPolicy, inEtcd(etcdtest.Start(t, 1))...)
	r.killed(r.emptied, []int{1, 4, 4})
}

// TestStateAway: while etcd is away what was last known goes on, also after a restart,
// and no wave begins. What changed meanwhile is in etcd when that is back.
func TestStateAway(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	s := share(t, newest(), inEtcd(etcd)...)
	_, has := s.inWave("new", s.hello("new"))

	etcd.Members[0].Kill()
	s.restartServer()
	s.untouched()
	s.haveStill("new", has)
	s.complains("state in etcd")
	// What no policy is for goes on, what one is for waits.
	s.write("other.yaml", filter("other", s.module(wasmtest.Filter{Header: "x-other", Value: "1"})))
	for _, e := range s.edges {
		e.runs("other")
	}
	written := s.hello("newer")
	s.eventually(func() error {
		change, err := s.server.Newest(t.Context(), "hello", written.Add(-time.Second))
		if err == nil && change.Wave != 0 {
			t.Errorf("a wave begins: %+v", change)
		}
		return err
	})

	etcd.Members[0].Restart()
	etcd.Members[0].Ready()
	before, has := s.inWave("newer", written)
	s.emptied()
	s.untouched()
	for _, e := range s.edges {
		e.runs("other")
	}
	after, now := s.inWave("newer", written)
	if after.ID != before.ID || now != has {
		t.Errorf("%q have it in %+v; before %q in %+v", now, after, has, before)
	}
	s.promoted(after, "newer", written)
}

// TestStateInKubernetes: an xds-server that is killed in the middle of a rollout, and
// started with nothing on its disk, goes on from what is in Secrets; while the API
// server is away it goes on from its copy. How far the change is is in an object.
func TestStateInKubernetes(t *testing.T) {
	cluster := kubetest.Start(t)
	cluster.Apply(kubetest.CRDs(t))
	cluster.Namespace("own")
	s := share(t, newest(), inKubernetes(cluster, "own")...)
	written := s.hello("new")
	before, has := s.inWave("new", written)
	s.emptied()
	s.untouched()
	after, now := s.inWave("new", written)
	if after.ID != before.ID || !after.Opened.Equal(before.Opened) || now != has {
		t.Errorf("%q have it in %+v; before %q in %+v", now, after, has, before)
	}

	s.object(cluster, after, "rolling 1 of 2 1 of 3")

	cluster.Kill()
	s.restartServer()
	s.untouched()
	s.haveStill("new", has)
	s.complains("state in kubernetes")
	cluster.Run()
	written = s.hello("newer")
	before, _ = s.inWave("newer", written)
	s.promoted(before, "newer", written)
	s.object(cluster, before, "done 2 of 2 <nil>")
}

// object waits until the object of a change says that.
func (s *shared) object(cluster *kubetest.Server, c harness.Change, want string) {
	s.t.Helper()
	s.eventually(func() error {
		o, err := cluster.Client.Resource(schema.GroupVersionResource{Group: "wasmxds.dev", Version: "v1alpha1", Resource: "changes"}).
			Namespace("own").Get(s.t.Context(), c.ID[:12], metav1.GetOptions{})
		if err != nil {
			return err
		}
		of, _, err := unstructured.NestedMap(o.Object, "status")
		if got := fmt.Sprint(of["state"], " ", of["inWave"], " ", of["progress"]); err == nil && got != want {
			err = fmt.Errorf("it says %q, want %q", got, want)
		}
		return err
	})
}
