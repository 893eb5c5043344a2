package etcd

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/state/statetest"
	"wasmxds/state/statetest/etcdtest"
)

// TestPausedLeader: a leader that was stopped for longer than its lease, and goes on,
// writes nothing any more.
func TestPausedLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	statetest.PausedLeader(t, s, "WASMXDS_TEST_LEAD_AT="+c.Endpoints()[0])
}

// TestLeaderIsCutOff: a leader that can't reach etcd is none when its lease is over,
// and may be again when etcd is back.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	line := proxy(t, c.Members[0].Address())
	statetest.LeaderIsCutOff(t, store(t, line.Address()), store(t, c.Endpoints()...), line)
}

// TestKilledLeader: who was killed as it led does not wait for itself when it is back, and
// takes nothing away from another.
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

// TestLeaderIsRemoved: who takes a leader's key away ends its term.
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
