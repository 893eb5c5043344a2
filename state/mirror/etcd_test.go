package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"wasmxds/etcdconn"
	"wasmxds/state"
	"wasmxds/state/etcd"
	"wasmxds/state/statetest"
	"wasmxds/state/statetest/etcdtest"
)

// inEtcd returns a store in etcd.
func inEtcd(t *testing.T, prefix string, endpoints ...string) *etcd.Store {
	log := slog.New(slog.DiscardHandler)
	s := etcd.New((&etcdconn.Options{Endpoints: endpoints, Log: log}).Dial, prefix, log)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestConformInEtcd runs the tests of every store with a copy of a store in etcd.
func TestConformInEtcd(t *testing.T) {
	c := etcdtest.Start(t, 1)
	n := 0
	statetest.Conform(t, func(t *testing.T) state.Store {
		n++
		s, err := Open(t.Context(), Options{Name: "etcd", Remote: inEtcd(t, fmt.Sprint("/test", n), c.Endpoints()...),
			Local: opened(t, filepath.Join(t.TempDir(), "state.db")), Shared: []string{""}, Whole: []string{"b/"}, Wait: time.Second, Log: slog.New(slog.DiscardHandler)})
		must(t, err)
		return s
	})
}

// TestMajorityLost checks that writes are kept locally while etcd has no majority, and
// reach it, and another process, when it is back.
func TestMajorityLost(t *testing.T) {
	c := etcdtest.Start(t, 3)
	dirs := []string{t.TempDir(), t.TempDir()}
	begin := func(dir string) *process {
		o := options(nil, opened(t, filepath.Join(dir, "state.db")))
		o.Remote = inEtcd(t, "/test", c.Endpoints()...)
		return run(t, o)
	}
	one, two := begin(dirs[0]), begin(dirs[1])
	must(t, one.apply("a/1=before", "rollout/1=before"))
	until(t, "two", two, "a/1=before rollout/1=before")

	c.Members[0].Kill()
	c.Members[1].Kill()
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := one.Apply(short, ops("a/2=meanwhile", "rollout/1=meanwhile")); err == nil {
		t.Error("one of three members has written")
	}
	one.end() // and is started again
	one = begin(dirs[0])
	if got := contents(t, one); got != "a/1=before a/2=meanwhile rollout/1=meanwhile" {
		t.Errorf("the copy is %q", got)
	}
	c.Members[0].Restart()
	c.Members[1].Restart()
	until(t, "two", two, "a/1=before a/2=meanwhile rollout/1=meanwhile")
	until(t, "one", one, "a/1=before a/2=meanwhile rollout/1=meanwhile")
}
