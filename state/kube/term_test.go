package kube

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// testPausedLeader checks that a leader that was paused for longer than its lease writes
// nothing when it continues.
func testPausedLeader(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	statetest.PausedLeader(t, s, "WASMXDS_TEST_LEAD_AT="+server.Config.Host, "WASMXDS_TEST_NAMESPACE="+namespace)
}

// testDeposedByHead checks that a leader that still has its lease writes nothing once
// another term has begun, whatever its clock shows.
func testDeposedByHead(t *testing.T, server *kubetest.Server, namespace string) {
	slow, quick := store(t, server.Config, namespace), store(t, server.Config, namespace)
	slow.lease = time.Hour
	first := statetest.Must(slow.Lead(t.Context(), "waves"))(t)
	defer first.End()
	statetest.Must(first.Store().Apply(t.Context(), statetest.Put("n", "first")))(t)
	if err := quick.leases.Delete(t.Context(), "wasmxds-state-waves", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := statetest.Must(quick.Lead(t.Context(), "waves"))(t)
	defer second.End()
	for _, ops := range [][]state.Op{statetest.Put("n", "late"), large(1)} {
		if _, err := first.Store().Apply(t.Context(), ops); !errors.Is(err, state.ErrDeposed) {
			t.Errorf("written in the term before: %v", err)
		}
	}
	if second.Number() <= first.Number() {
		t.Errorf("term %d after %d", second.Number(), first.Number())
	}
	select {
	case <-first.Done():
	default:
		t.Error("it does not know that it is deposed")
	}
	if have, named := shards(t, quick), named(t, quick); len(have) != len(named) {
		t.Errorf("there are the shards %q, and the head names %q", have, named)
	}
}

// testLeaderIsCutOff checks that a leader that can't reach the API server stops leading
// when its lease expires, and can lead again when the server is back.
func testLeaderIsCutOff(t *testing.T, server *kubetest.Server, namespace string) {
	line, config := proxy(t, server)
	statetest.LeaderIsCutOff(t, store(t, config, namespace), store(t, server.Config, namespace), line)
}

// testLeaderIsRemoved checks that deleting a leader's Lease ends its term.
func testLeaderIsRemoved(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	term := statetest.Must(s.Lead(t.Context(), "a/b"))(t)
	nested := statetest.Must(s.Lead(t.Context(), "a"))(t)
	defer nested.End()
	if err := s.leases.Delete(t.Context(), leaseName(s.name, "a/b"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-term.Done():
	case <-time.After(statetest.Patience):
		t.Error("the term goes on")
	}
	term.End()
	select {
	case <-nested.Done():
		t.Error("the other term is over, too")
	default:
	}
}

// testKilledLeader checks that a leader that was killed need not wait for its own lease
// after its restart, and takes nothing from another leader.
func testKilledLeader(t *testing.T, server *kubetest.Server, namespace string) {
	killed, back, other := store(t, server.Config, namespace), store(t, server.Config, namespace), store(t, server.Config, namespace)
	for s, id := range map[*Store]string{killed: "a", back: "a", other: "b"} {
		s.lease = time.Hour
		s.Own(id)
	}
	statetest.KilledLeader(t, killed, back, other)
}
