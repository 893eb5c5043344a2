package etcd

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state/statetest"
	"wasmxds/state/statetest/etcdtest"
)

// TestPausedLeader checks that a leader that was paused for longer than its lease writes
// nothing when it continues.
func TestPausedLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	statetest.PausedLeader(t, s, "WASMXDS_TEST_LEAD_AT="+c.Endpoints()[0])
}

// TestLeaderIsCutOff checks that a leader that can't reach etcd stops leading when its
// lease expires, and can lead again when etcd is back.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	line := proxy(t, c.Members[0].Address())
	statetest.LeaderIsCutOff(t, store(t, line.Address()), store(t, c.Endpoints()...), line)
}

// TestKilledLeader checks that a leader that was killed need not wait for its own lease
// after its restart, and takes nothing from another leader.
func TestKilledLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	killed, back, other := store(t, c.Endpoints()...), store(t, c.Endpoints()...), store(t, c.Endpoints()...)
	for s, id := range map[*Store]string{killed: "a", back: "a", other: "b"} {
		s.lease = time.Hour
		s.Own(id)
	}
	statetest.KilledLeader(t, killed, back, other)
}

// TestLeaderIsRemoved checks that deleting a leader's key ends its term.
func TestLeaderIsRemoved(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	term := statetest.Must(s.Lead(t.Context(), "a/b"))(t)
	nested := statetest.Must(s.Lead(t.Context(), "a"))(t)
	defer nested.End()
	statetest.Must(client.Delete(t.Context(), s.at(leaderKeys)+"a%2Fb/", clientv3.WithPrefix()))(t)
	select {
	case <-term.Done():
	case <-time.After(statetest.Patience):
		t.Error("the term goes on")
	}
	term.End()
}
