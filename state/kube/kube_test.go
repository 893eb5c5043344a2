package kube

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

func TestMain(m *testing.M) {
	if host := os.Getenv("WASMXDS_TEST_LEAD_AT"); host != "" {
		config := &rest.Config{Host: host, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
		s, err := New(config, os.Getenv("WASMXDS_TEST_NAMESPACE"), "wasmxds-state", slog.New(slog.DiscardHandler))
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		s.lease = shortLease
		statetest.LeadForEver(s)
	}
	goleak.VerifyTestMain(m)
}

// shortLease is a lease that is short enough for tests to wait for its end.
const shortLease = 4 * time.Second

func store(t testing.TB, config *rest.Config, namespace string) *Store {
	t.Helper()
	s := statetest.Must(New(config, namespace, "wasmxds-state", slog.New(slog.DiscardHandler)))(t)
	s.lease = shortLease
	return s
}

// testGranted checks that the permissions in docs/kubernetes.md are enough.
func testGranted(t *testing.T, server *kubetest.Server, namespace string) {
	text := string(statetest.Must(os.ReadFile("../../docs/kubernetes.md"))(t))
	_, role, _ := strings.Cut(text, "\nkind: Role\nmetadata: {name: wasmxds-state, namespace: wasmxds-system}\n")
	role, _, ok := strings.Cut(role, "```")
	if !ok {
		t.Fatal("no Role in docs/kubernetes.md")
	}
	server.Apply("apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: wasmxds-state, namespace: " + namespace + "}\n" + role + `---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: wasmxds-state, namespace: ` + namespace + `}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: wasmxds-state}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: xds-server}]
`)
	s := store(t, server.As("xds-server"), namespace)
	statetest.Until(t, "write", func(ctx context.Context) error { _, err := s.Apply(ctx, large(1)); return err })
	statetest.Must(s.writeShard(t.Context(), []record{{key: "left", at: 1}}))(t)
	next := store(t, server.As("xds-server"), namespace)
	statetest.Must(next.Apply(t.Context(), large(2)))(t)
	if have, named := shards(t, store(t, server.Config, namespace)), named(t, s); !slices.Equal(have, named) {
		t.Errorf("there are the shards %q, and the head names %q", have, named)
	}
	term := statetest.Must(s.Lead(t.Context(), "waves"))(t)
	statetest.Must(term.Store().Apply(t.Context(), statetest.Put("a", "1")))(t)
	term.End()
	ctx, cancel := context.WithTimeout(t.Context(), statetest.Patience)
	defer cancel()
	for e, err := range s.Watch(ctx, "a", statetest.Must(s.Get(t.Context(), "a"))(t).Revision-1) {
		if err != nil || e.Key != "a" {
			t.Errorf("%+v, %v", e, err)
		}
		return
	}
	t.Error("it can't be watched")
}

// TestStore runs the tests of every store, and those of this one, with one API server.
func TestStore(t *testing.T) {
	server := kubetest.Start(t)
	n := 0
	t.Run("Conform", func(t *testing.T) {
		statetest.Conform(t, func(t *testing.T) state.Store {
			n++
			namespace := fmt.Sprint("conform-", n)
			server.Namespace(namespace)
			return store(t, server.Config, namespace)
		})
	})
	for name, test := range map[string]func(*testing.T, *kubetest.Server, string){
		"Granted":          testGranted,
		"KilledLeader":     testKilledLeader,
		"Owned":            testOwned,
		"KilledAtAnyWrite": testKilledAtAnyWrite,
		"TooOld":           testTooOld,
		"Slow":             testSlow,
		"Lost":             testLost,
		"ShardDeleted":     testShardDeleted,
		"Since":            testSince,
		"PausedLeader":     testPausedLeader,
		"DeposedByHead":    testDeposedByHead,
		"LeaderIsCutOff":   testLeaderIsCutOff,
		"LeaderIsRemoved":  testLeaderIsRemoved,
		"Model":            testModel,
		"ManyLarge":        testManyLarge,
		"TooLarge":         testTooLarge,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			namespace := strings.ToLower(name)
			server.Namespace(namespace)
			test(t, server, namespace)
		})
	}
}
