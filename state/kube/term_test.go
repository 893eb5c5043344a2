package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"wasmxds/exectest"
	"wasmxds/source/kube/kubetest"
	"wasmxds/state"
)

// leadForEver is another process: it leads, and says of each write whether it is done.
func leadForEver(host string) {
	config := &rest.Config{Host: host, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	s, err := New(config, os.Getenv("WASMXDS_TEST_NAMESPACE"), "wasmxds-state", slog.New(slog.DiscardHandler))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s.lease = shortLease
	term, err := s.Lead(context.Background(), "waves")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	in := term.Store()
	for n := 1; ; n++ {
		_, err := in.Apply(context.Background(), put("n", fmt.Sprint("old ", n)))
		over := false
		select {
		case <-term.Done():
			over = true
		default:
		}
		fmt.Println(n, errors.Is(err, state.ErrDeposed), over, err)
		time.Sleep(20 * time.Millisecond)
	}
}

// testPausedLeader: a leader that was stopped for longer than its lease, and goes on,
// writes nothing any more.
func testPausedLeader(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "WASMXDS_TEST_LEAD_AT="+server.Config.Host, "WASMXDS_TEST_NAMESPACE="+namespace)
	other := must(exectest.Start(cmd, filepath.Join(t.TempDir(), "log")))(t)
	defer other.Kill()
	until(t, "the other leads", func(context.Context) error {
		if other.Tail(1) == "" {
			return fmt.Errorf("it says nothing: %v", other.Running())
		}
		return nil
	})
	if err := other.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	term := must(s.Lead(t.Context(), "waves"))(t)
	defer term.End()
	at := must(term.Store().Apply(t.Context(), put("n", "new")))(t)
	if err := other.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	until(t, "it notices", func(context.Context) error {
		if last := other.Tail(1); !strings.Contains(last, " true true ") {
			return fmt.Errorf("it says %q", last)
		}
		return nil
	})
	e := must(s.Get(t.Context(), "n"))(t)
	if string(e.Value) != "new" || e.Revision != at {
		t.Errorf("there is %s, of revision %d; want that of %d", e.Value, e.Revision, at)
	}
}

// testDeposedByHead: a leader that still has its lease writes nothing once another term
// has begun, whatever its clock says.
func testDeposedByHead(t *testing.T, server *kubetest.Server, namespace string) {
	slow, quick := store(t, server.Config, namespace), store(t, server.Config, namespace)
	slow.lease = time.Hour
	first := must(slow.Lead(t.Context(), "waves"))(t)
	defer first.End()
	must(first.Store().Apply(t.Context(), put("n", "first")))(t)
	if err := quick.leases.Delete(t.Context(), "wasmxds-state-waves", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := must(quick.Lead(t.Context(), "waves"))(t)
	defer second.End()
	for _, ops := range [][]state.Op{put("n", "late"), large(1)} {
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

// testLeaderIsCutOff: a leader that can't reach the API server is none when its lease
// is over, and may be again when that is back.
func testLeaderIsCutOff(t *testing.T, server *kubetest.Server, namespace string) {
	line, config := proxy(t, server)
	cut, other := store(t, config, namespace), store(t, server.Config, namespace)
	first := must(cut.Lead(t.Context(), "waves"))(t)
	line.Down()
	began := time.Now()
	second := must(other.Lead(t.Context(), "waves"))(t)
	select {
	case <-first.Done():
	case <-time.After(patience):
		t.Error("it does not notice that it does not lead")
	}
	t.Logf("with a lease of %v another leads after %v", shortLease, time.Since(began).Round(time.Millisecond))
	line.Up()
	again := make(chan state.Term)
	go func() { again <- must(cut.Lead(t.Context(), "waves"))(t) }()
	select {
	case <-again:
		t.Error("two lead")
	case <-time.After(time.Second):
	}
	second.End()
	third := <-again
	if third.Number() <= second.Number() || second.Number() <= first.Number() {
		t.Errorf("terms %d, %d, %d", first.Number(), second.Number(), third.Number())
	}
	third.End()
	first.End()
}

// testLeaderIsRemoved: who deletes a leader's Lease ends its term.
func testLeaderIsRemoved(t *testing.T, server *kubetest.Server, namespace string) {
	s := store(t, server.Config, namespace)
	term := must(s.Lead(t.Context(), "a/b"))(t)
	nested := must(s.Lead(t.Context(), "a"))(t)
	defer nested.End()
	if err := s.leases.Delete(t.Context(), leaseName(s.name, "a/b"), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-term.Done():
	case <-time.After(patience):
		t.Error("the term goes on")
	}
	term.End()
	select {
	case <-nested.Done():
		t.Error("the other term is over, too")
	default:
	}
}

// testKilledLeader: who was killed as it led does not wait for itself when it is back, and
// takes nothing away from another.
func testKilledLeader(t *testing.T, server *kubetest.Server, namespace string) {
	killed, back, other := store(t, server.Config, namespace), store(t, server.Config, namespace), store(t, server.Config, namespace)
	for s, id := range map[*Store]string{killed: "a", back: "a", other: "b"} {
		s.lease = time.Hour
		s.Own(id)
	}
	first := must(killed.Lead(t.Context(), "waves"))(t)
	short, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	second := must(back.Lead(short, "waves"))(t)
	if second.Number() <= first.Number() {
		t.Errorf("term %d after %d", second.Number(), first.Number())
	}
	if _, err := first.Store().Apply(t.Context(), put("n", "late")); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("written in a term before: %v", err)
	}
	for what, s := range map[string]*Store{"two lead": other, "it takes its own term away": back} {
		moment, stop := context.WithTimeout(t.Context(), time.Second)
		if _, err := s.Lead(moment, "waves"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		stop()
	}
	second.End()
	first.End()
}
