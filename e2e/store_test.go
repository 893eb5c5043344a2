package e2e

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/e2e/harness"
	"wasmxds/etcdconn"
	"wasmxds/state/statetest/etcdtest"
)

// TestStoreSlow: with an etcd that takes a second for each call waves come later, and
// nothing else is other.
func TestStoreSlow(t *testing.T) {
	etcd := etcdtest.Start(t, 1)
	p, err := harness.StartProxy(etcd.Members[0].Address())
	must(t, err)
	t.Cleanup(func() { must(t, p.Close()) })
	s := share(t, newest(), "--etcd", "http://"+p.Address(), "--state", "etcd")
	p.Delay(500*time.Millisecond, 500*time.Millisecond)
	written := s.hello("new")
	_, has := s.inWave("new", written)
	t.Logf("in the first wave after %v", time.Since(written).Round(time.Millisecond))
	s.restartServer()
	s.untouched()
	s.haveStill("new", has)
	change, _ := s.inWave("new", written)
	s.promoted(change, "new", written)
}

// TestStoreFull: no wave begins while etcd has no room, and a change that needs none
// is made. When there is room it goes on.
func TestStoreFull(t *testing.T) {
	etcd := etcdtest.Start(t, 1, "--quota-backend-bytes=16777216")
	s := share(t, newest(), inEtcd(etcd)...)
	client, err := (&etcdconn.Options{Endpoints: etcd.Endpoints()}).Dial(t.Context())
	must(t, err)
	t.Cleanup(func() { must(t, client.Close()) })
	fill(t, client)

	written := s.hello("new")
	s.complains("state in etcd")
	s.restartServer()
	s.complains("state in etcd")
	s.serves(s.start(newest(), "edge-9"))
	for _, l := range s.loads {
		if seen := l.LastSeen("x-hello", "new"); !seen.IsZero() {
			t.Error("an Envoy has what is not written down")
		}
	}

	makeRoom(t, client)
	change, _ := s.inWave("new", written)
	s.emptied() // the wave was written down before it began
	after, _ := s.inWave("new", written)
	if after.ID != change.ID || !after.Opened.Equal(change.Opened) {
		t.Errorf("%+v goes on, want %+v", after, change)
	}
	s.promoted(after, "new", written)
}

// fill writes to etcd until there is no room.
func fill(t *testing.T, client *clientv3.Client) {
	t.Helper()
	noise := make([]byte, 500<<10)
	for i := range 100 {
		_, _ = rand.Read(noise) // it never fails
		if _, err := client.Put(t.Context(), fmt.Sprint("noise/", i), string(noise)); err != nil {
			if !strings.Contains(err.Error(), "space") {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatal("etcd has room for all of it")
}

// makeRoom does what an operator does.
func makeRoom(t *testing.T, client *clientv3.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	gone, err := client.Delete(ctx, "noise/", clientv3.WithPrefix())
	must(t, err)
	_, err = client.Compact(ctx, gone.Header.Revision, clientv3.WithCompactPhysical())
	must(t, err)
	_, err = client.Defragment(ctx, client.Endpoints()[0])
	must(t, err)
	_, err = client.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	must(t, err)
}

// TestMajorityLost: without most of etcd's members what was last known goes on for as
// long as it takes, also to Envoys and by an xds-server that start meanwhile.
func TestMajorityLost(t *testing.T) {
	long := 15 * time.Second
	if *all {
		long = 10 * time.Minute
	}
	etcd := etcdtest.Start(t, 3)
	s := share(t, newest(), inEtcd(etcd)...)
	change, has := s.inWave("new", s.hello("new"))
	lost := time.Now()
	etcd.Members[0].Kill()
	etcd.Members[1].Kill()
	s.complains("state in etcd")
	s.serves(s.start(newest(), "edge-9"))
	s.restartServer()
	s.untouched()
	s.hello("newer")
	for ; time.Since(lost) < long; time.Sleep(200 * time.Millisecond) { // that nothing comes is to be seen
		// It is taken back when the server, on its own by then, has read that the files say
		// something else.
		if now := s.have("new"); now != has && now != "" {
			t.Fatalf("%q have it, want %q, or nobody", now, has)
		}
		if now := s.have("newer"); now != "" {
			t.Fatalf("%q have what is not written down", now)
		}
	}
	back := time.Now()
	etcd.Members[0].Restart()
	etcd.Members[1].Restart()
	after, _ := s.inWave("newer", lost)
	t.Logf("the next wave begins %v after the members are back", time.Since(back).Round(time.Millisecond))
	if after.ID == change.ID {
		t.Errorf("%+v is what was before", after)
	}
	s.promoted(after, "newer", lost)
}
