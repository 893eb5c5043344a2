package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
	"wasmxds/etcdconn"
	"wasmxds/state/statetest/etcdtest"
)

// etcdSource is an etcd of three members that definitions come from.
type etcdSource struct {
	*etcdtest.Cluster
	f *fleet
}

// serveEtcd starts xds-server with definitions from etcd.
func (f *fleet) serveEtcd(s *etcdSource) {
	f.t.Helper()
	f.definitions = "" // there is no directory
	f.serve("--etcd", strings.Join(s.Endpoints(), ","))
}

// apply puts definitions into etcd with xds-server apply.
func (s *etcdSource) apply(pairs ...string) {
	s.f.t.Helper()
	dir := s.f.t.TempDir()
	for i := 0; i < len(pairs); i += 2 {
		must(s.f.t, os.WriteFile(filepath.Join(dir, pairs[i]+".yaml"), []byte(pairs[i+1]), 0o644))
	}
	apply := exec.CommandContext(s.f.ctx, xdsServer, "apply", "--etcd", strings.Join(s.Endpoints(), ","), "--timeout", "1m", dir)
	if out, err := apply.CombinedOutput(); err != nil {
		s.f.t.Fatalf("apply: %v\n%s", err, out)
	}
}

// TestEtcd: definitions come from etcd, through what can befall it. None of this
// is seen by a request.
func TestEtcd(t *testing.T) {
	c := newest()
	f := newFleet(t)
	s := &etcdSource{etcdtest.Start(t, 3), f}
	hello := func(value string) string {
		return filter("hello", f.moduleURL(wasmtest.Filter{Header: "x-hello", Value: value}), "attach: {listeners: [web]}")
	}
	s.apply("web", f.listener("web"), "hello", hello("0"))
	f.serveEtcd(s)
	one := f.envoy(c, "edge-1")
	l := one.load("web", "x-hello")
	f.seen(l, one.Started, "x-hello", "0")
	swapped := func(value string) {
		t.Helper()
		s.apply("hello", hello(value))
		f.seen(l, one.Started, "x-hello", value)
	}
	away := func() {
		t.Helper()
		f.eventually(func() error { return f.complains("etcd: can't be reached: ") })
	}
	swapped("1")

	// One member is killed, then the majority is gone.
	s.Members[0].Kill()
	swapped("2")
	s.Members[1].Kill()
	away()

	// An Envoy that starts meanwhile gets what was known; so it does from an
	// xds-server that starts meanwhile, twice.
	two := f.envoy(c, "edge-2")
	second := two.load("web", "x-hello")
	f.seen(second, two.Started, "x-hello", "2")
	for range 2 {
		f.restartServer()
		away()
		one.runs("hello")
		two.runs("hello")
	}
	three := f.envoy(c, "edge-3")
	third := three.load("web", "x-hello")
	f.seen(third, three.Started, "x-hello", "2")

	// Back, with changes that xds-server has not seen, and that are compacted.
	f.server.Kill()
	s.Members[0].Restart()
	s.Members[1].Restart()
	s.apply("hello", hello("3"))
	s.compact()
	must(t, f.server.Start(f.ctx))
	f.seen(l, one.Started, "x-hello", "3")
	swapped("4")

	// A mistake that goes round apply takes nothing away.
	s.put("hello", "kind: WasmFilter\nnam: hello\n")
	f.eventually(func() error { return f.complains("etcd hello") })
	swapped("5")
	for _, l := range []*harness.Load{l, second, third} {
		f.good(l)
	}
}

// TestEtcdHangs: etcd tells of changes, and takes no write. An xds-server that is killed
// just then, and started while etcd is away, goes on with the newest that it has served.
func TestEtcdHangs(t *testing.T) {
	c := newest()
	f := newFleet(t)
	s := &etcdSource{etcdtest.Start(t, 1), f}
	p, err := harness.StartProxy(s.Members[0].Address())
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	hello := func(value string) string {
		return filter("hello", f.moduleURL(wasmtest.Filter{Header: "x-hello", Value: value}), "attach: {listeners: [web]}")
	}
	s.apply("web", f.listener("web"), "hello", hello("0"))
	f.definitions = "" // there is no directory
	f.serve("--etcd", "http://"+p.Address())
	one := f.envoy(c, "edge-1")
	l := one.load("web", "x-hello")
	f.seen(l, one.Started, "x-hello", "0")
	p.Hold()
	older := []string{"0", "1", "2", "3"}
	for _, value := range append(older[1:], "4") {
		s.apply("hello", hello(value))
		f.seen(l, one.Started, "x-hello", value)
	}
	f.server.Kill()
	killed := time.Now()
	p.Down()
	must(t, f.server.Start(f.ctx))
	f.eventually(func() error { return f.complains("etcd: can't be reached: ") })
	one.runs("hello")
	for _, value := range older {
		if l.LastSeen("x-hello", value).After(killed) {
			t.Errorf("it went back to %s", value)
		}
	}
	two := f.envoy(c, "edge-2")
	second := two.load("web", "x-hello")
	f.seen(second, two.Started, "x-hello", "4")
	f.good(l)
	f.good(second)
}

func (s *etcdSource) client(do func(*clientv3.Client) error) {
	s.f.t.Helper()
	client, err := (&etcdconn.Options{Endpoints: s.Endpoints()}).Dial(s.f.ctx)
	must(s.f.t, err)
	defer client.Close()
	must(s.f.t, do(client))
}

// compact has etcd forget all that was.
func (s *etcdSource) compact() {
	s.f.t.Helper()
	s.client(func(c *clientv3.Client) error {
		resp, err := c.Get(s.f.ctx, "/")
		if err == nil {
			_, err = c.Compact(s.f.ctx, resp.Header.Revision, clientv3.WithCompactPhysical())
		}
		return err
	})
}

// put writes a document as any tool does.
func (s *etcdSource) put(name, text string) {
	s.f.t.Helper()
	s.client(func(c *clientv3.Client) error {
		_, err := c.Put(s.f.ctx, "/wasmxds/definitions/"+name, text)
		return err
	})
}
