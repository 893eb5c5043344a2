package statetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wasmxds/exectest"
	"wasmxds/state"
)

// Faults of stores on other machines. Each scene needs a store that is otherwise empty, and
// leases that are short enough for a test to wait for them, unless it says otherwise.

// LeadForEver is the other process of [PausedLeader]: it leads, and prints for each write
// whether it succeeded.
func LeadForEver(s state.Store) {
	term, err := s.Lead(context.Background(), "waves")
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	in := term.Store()
	for n := 1; ; n++ {
		_, err := in.Apply(context.Background(), Put("n", fmt.Sprint("old ", n)))
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

// PausedLeader tests that a leader that was paused for longer than its lease writes nothing
// after it resumes. The leader is this test binary, started with the additional variables
// env, which make its TestMain call [LeadForEver].
func PausedLeader(t *testing.T, s state.Store, env ...string) {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), env...)
	other := Must(exectest.Start(cmd, filepath.Join(t.TempDir(), "log")))(t)
	defer other.Kill()
	Until(t, "the other leads", func(context.Context) error {
		if other.Tail(1) == "" {
			return fmt.Errorf("it says nothing: %v", other.Running())
		}
		return nil
	})
	if err := other.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	term := Must(s.Lead(t.Context(), "waves"))(t)
	defer term.End()
	at := Must(term.Store().Apply(t.Context(), Put("n", "new")))(t)
	if err := other.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	Until(t, "it notices", func(context.Context) error {
		if last := other.Tail(1); !strings.Contains(last, " true true ") {
			return fmt.Errorf("it says %q", last)
		}
		return nil
	})
	e := Must(s.Get(t.Context(), "n"))(t)
	if string(e.Value) != "new" || e.Revision != at {
		t.Errorf("there is %s, of revision %d; want that of %d", e.Value, e.Revision, at)
	}
}

// LeaderIsCutOff tests that a leader whose connection to the store is down no longer leads
// when its lease has expired, and may lead again when the connection is up. The other store
// has a connection of its own.
func LeaderIsCutOff(t *testing.T, cut, other state.Store, line interface {
	Down()
	Up()
}) {
	first := Must(cut.Lead(t.Context(), "waves"))(t)
	line.Down()
	began := time.Now()
	second := Must(other.Lead(t.Context(), "waves"))(t)
	select {
	case <-first.Done():
	case <-time.After(Patience):
		t.Error("it does not notice that it does not lead")
	}
	t.Logf("another leads after %v", time.Since(began).Round(time.Millisecond))
	line.Up()
	again := make(chan state.Term)
	go func() {
		term, err := cut.Lead(t.Context(), "waves")
		if err != nil {
			t.Error(err)
		}
		again <- term
	}()
	select {
	case <-again:
		t.Error("two lead")
	case <-time.After(time.Second):
	}
	second.End()
	third := <-again
	if third == nil {
		return
	}
	if third.Number() <= second.Number() || second.Number() <= first.Number() {
		t.Errorf("terms %d, %d, %d", first.Number(), second.Number(), third.Number())
	}
	third.End()
	first.End()
}

// KilledLeader tests that a leader that was killed does not wait for its own lease after a
// restart, and takes nothing away from another process. Leases must be longer than any
// test.
func KilledLeader(t *testing.T, killed, back, other state.Store) {
	first := Must(killed.Lead(t.Context(), "waves"))(t)
	short, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	second := Must(back.Lead(short, "waves"))(t)
	if second.Number() <= first.Number() {
		t.Errorf("term %d after %d", second.Number(), first.Number())
	}
	if _, err := first.Store().Apply(t.Context(), Put("n", "late")); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("written in a term before: %v", err)
	}
	for what, s := range map[string]state.Store{"two lead": other, "it takes its own term away": back} {
		moment, stop := context.WithTimeout(t.Context(), time.Second)
		if _, err := s.Lead(moment, "waves"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", what, err)
		}
		stop()
	}
	second.End()
	first.End()
}

// Interrupted tests that nothing is written to a store while it is unavailable, and that
// afterwards everything that was reported as written is there and was sent to watchers.
// away may call write to write more in between.
func Interrupted(t *testing.T, s state.Store, away func(write func(many int)), back func()) {
	at := Must(s.Apply(t.Context(), Put("before", "1")))(t)
	var told atomic.Int64
	watching, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		for _, err := range s.Watch(watching, "n/", at) {
			if err != nil {
				t.Error(err)
				return
			}
			told.Add(1)
		}
	})
	written := 0
	write := func(many int) {
		t.Helper()
		for range many {
			Until(t, "write", func(ctx context.Context) error {
				_, err := s.Apply(ctx, Put(fmt.Sprint("n/", written), "x"))
				return err
			})
			written++
		}
	}
	write(5)
	away(write)
	short, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	if _, err := s.Apply(short, Put("lost", "x")); err == nil {
		t.Error("it is written, and the store is away")
	}
	cancel()
	back()
	write(5)
	Until(t, "watch", func(context.Context) error {
		if n := told.Load(); n < int64(written) {
			return fmt.Errorf("told of %d of %d", n, written)
		}
		return nil
	})
	if n := told.Load(); n != int64(written) {
		t.Errorf("told of %d of %d", n, written)
	}
	all, _, err := s.List(t.Context(), "n/")
	if err != nil || len(all) != written {
		t.Errorf("%d of %d are there: %v", len(all), written, err)
	}
	stop()
	running.Wait()
}

// ManyLarge tests that nobody sees a part of a batch while several processes write large
// ones to the same store, which each call of open opens. All batches have the same keys,
// below "n/", and one value each.
func ManyLarge(t *testing.T, open func() state.Store, batch func(n int) []state.Op) {
	var writers sync.WaitGroup
	for n := range 4 {
		s := open()
		writers.Go(func() {
			for range 3 {
				if _, err := s.Apply(t.Context(), batch(n)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	s := open()
	done := make(chan struct{})
	go func() { defer close(done); writers.Wait() }()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		Whole(t, s, len(batch(0)))
	}
}

// Whole checks that the entries below "n/" are either none or one batch of that many
// entries with the same value, and returns that value.
func Whole(t testing.TB, s state.Store, entries int) []byte {
	t.Helper()
	all, _, err := s.List(t.Context(), "n/")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return nil
	}
	if len(all) != entries || slices.ContainsFunc(all, func(e state.Entry) bool { return !bytes.Equal(e.Value, all[0].Value) }) {
		t.Fatalf("a part of a batch is there, of %d entries", len(all))
	}
	return all[0].Value
}
