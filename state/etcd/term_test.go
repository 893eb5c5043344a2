package etcd

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

	clientv3 "go.etcd.io/etcd/client/v3"

	"wasmxds/exectest"
	"wasmxds/state"
	"wasmxds/state/statetest/etcdtest"
)

// leadForEver is another process: it leads, and says of each write whether it is done.
func leadForEver(endpoint string) {
	s := New(dialer(endpoint), "/test/state/", slog.New(slog.DiscardHandler))
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

// TestPausedLeader: a leader that was stopped for longer than its lease, and goes on,
// writes nothing any more.
func TestPausedLeader(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	s := store(t, c.Endpoints()...)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "WASMXDS_TEST_LEAD_AT="+c.Endpoints()[0])
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

// TestLeaderIsCutOff: a leader that can't reach etcd is none when its lease is over,
// and may be again when etcd is back.
func TestLeaderIsCutOff(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	line := proxy(t, c.Members[0].Address())
	cut, other := store(t, line.Address()), store(t, c.Endpoints()...)
	first := must(cut.Lead(t.Context(), "waves"))(t)
	line.Down()
	began := time.Now()
	second := must(other.Lead(t.Context(), "waves"))(t)
	select {
	case <-first.Done():
	case <-time.After(patience):
		t.Error("it does not notice that it does not lead")
	}
	t.Logf("another leads after %v", time.Since(began).Round(time.Millisecond))
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
	moment, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, err := other.Lead(moment, "waves"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two lead: %v", err)
	}
	again, stop := context.WithTimeout(t.Context(), time.Second)
	defer stop()
	if _, err := back.Lead(again, "waves"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it takes its own term away: %v", err)
	}
	second.End()
	first.End()
}

// TestLeaderIsRemoved: who takes a leader's key away ends its term.
func TestLeaderIsRemoved(t *testing.T) {
	t.Parallel()
	c := etcdtest.Start(t, 1)
	client := dial(t, c.Endpoints()...)
	s := store(t, c.Endpoints()...)
	term := must(s.Lead(t.Context(), "a/b"))(t)
	nested := must(s.Lead(t.Context(), "a"))(t)
	defer nested.End()
	must(client.Delete(t.Context(), s.at(leaderKeys)+"a%2Fb/", clientv3.WithPrefix()))(t)
	select {
	case <-term.Done():
	case <-time.After(patience):
		t.Error("the term goes on")
	}
	term.End()
}
