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
		leadForEver(host)
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits, on a machine with much else to do.
const patience = 90 * time.Second

// shortLease is a lease that tests can wait for.
const shortLease = 4 * time.Second

func store(t testing.TB, config *rest.Config, namespace string) *Store {
	t.Helper()
	s := must(New(config, namespace, "wasmxds-state", slog.New(slog.DiscardHandler)))(t)
	s.lease = shortLease
	return s
}

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func put(key, value string) []state.Op { return []state.Op{{Key: key, Value: []byte(value)}} }

// until tries again until do gives no error.
func until(t testing.TB, what string, do func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := do(ctx)
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// testGranted: what docs/kubernetes.md says that it has to be granted is enough.
func testGranted(t *testing.T, server *kubetest.Server, namespace string) {
	text := string(must(os.ReadFile("../../docs/kubernetes.md"))(t))
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
	until(t, "write", func(ctx context.Context) error { _, err := s.Apply(ctx, large(1)); return err })
	must(s.writeShard(t.Context(), []record{{key: "left", at: 1}}))(t)
	next := store(t, server.As("xds-server"), namespace)
	must(next.Apply(t.Context(), large(2)))(t)
	if have, named := shards(t, store(t, server.Config, namespace)), named(t, s); !slices.Equal(have, named) {
		t.Errorf("there are the shards %q, and the head names %q", have, named)
	}
	term := must(s.Lead(t.Context(), "waves"))(t)
	must(term.Store().Apply(t.Context(), put("a", "1")))(t)
	term.End()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for e, err := range s.Watch(ctx, "a", must(s.Get(t.Context(), "a"))(t).Revision-1) {
		if err != nil || e.Key != "a" {
			t.Errorf("%+v, %v", e, err)
		}
		return
	}
	t.Error("it can't be watched")
}

// TestStore tests what every store must do, and what befalls this one, on one API server.
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
