package mirror

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
	"wasmxds/state/kube"
	"wasmxds/state/statetest"
)

// inKubernetes returns a store in Secrets.
func inKubernetes(t *testing.T, server *kubetest.Server, namespace string) *kube.Store {
	t.Helper()
	s, err := kube.New(server.Config, namespace, "wasmxds-state", slog.New(slog.DiscardHandler))
	must(t, err)
	return s
}

// TestInKubernetes runs the tests of every store with a copy of a store in Secrets, and
// checks that each of two processes has what both write, also after the API server was
// killed and after everything was deleted.
func TestInKubernetes(t *testing.T) {
	server := kubetest.Start(t)
	n := 0
	statetest.Conform(t, func(t *testing.T) state.Store {
		n++
		namespace := fmt.Sprint("test-", n)
		server.Namespace(namespace)
		s, err := Open(t.Context(), Options{Name: "kubernetes", Remote: inKubernetes(t, server, namespace),
			Local: opened(t, filepath.Join(t.TempDir(), "state.db")), Shared: []string{""}, Whole: []string{"b/"}, Wait: time.Second, Log: slog.New(slog.DiscardHandler)})
		must(t, err)
		return s
	})

	server.Namespace("two")
	begin := func() *process {
		o := options(nil, opened(t, filepath.Join(t.TempDir(), "state.db")))
		o.Remote = inKubernetes(t, server, "two")
		return run(t, o)
	}
	one, two := begin(), begin()
	must(t, one.apply("a/1=one", "rollout/1=one"))
	must(t, two.apply("a/2=two"))
	const both = "a/1=one a/2=two rollout/1=one"
	until(t, "one", one, both)
	until(t, "two", two, both)

	server.Kill()
	if err := one.apply("a/3=away"); err == nil {
		t.Error("it is written, and the API server is away")
	}
	server.Run()
	until(t, "two, when it is back", two, "a/1=one a/2=two a/3=away rollout/1=one")

	server.Delete("{apiVersion: v1, kind: Secret, metadata: {name: wasmxds-state, namespace: two}}")
	until(t, "the store, after it was lost", inKubernetes(t, server, "two"), "a/1=one a/2=two a/3=away rollout/1=one")
	one.settled()
	two.settled()
	must(t, two.apply("a/1=again"))
	until(t, "one, after it was lost", one, "a/1=again a/2=two a/3=away rollout/1=one")
}
