package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/state"
	"wasmxds/state/local"
)

// elsewhere is a shared store that may be away. It is a file, too.
type elsewhere struct {
	*local.Store
	mu   sync.Mutex
	id   string
	away bool
}

var errAway = errors.New("connection refused")

func newElsewhere(t *testing.T, id string) *elsewhere {
	return &elsewhere{Store: opened(t, filepath.Join(t.TempDir(), "shared.db")), id: id}
}

func opened(t *testing.T, path string) *local.Store {
	t.Helper()
	s, err := local.Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it
	return s
}

func (e *elsewhere) setAway(away bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.away = away
}

func (e *elsewhere) err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.away {
		return errAway
	}
	return nil
}

func (e *elsewhere) ID(context.Context) (string, state.Revision, error) {
	if err := e.err(); err != nil {
		return "", 0, err
	}
	_, at, err := e.Store.List(context.Background(), "")
	return e.id, at, err
}

func (e *elsewhere) Get(ctx context.Context, key string) (state.Entry, error) {
	if err := e.err(); err != nil {
		return state.Entry{}, err
	}
	return e.Store.Get(ctx, key)
}

func (e *elsewhere) List(ctx context.Context, prefix string) ([]state.Entry, state.Revision, error) {
	if err := e.err(); err != nil {
		return nil, 0, err
	}
	return e.Store.List(ctx, prefix)
}

func (e *elsewhere) Put(ctx context.Context, key string, value []byte, was state.Revision) (state.Revision, error) {
	if err := e.err(); err != nil {
		return 0, err
	}
	return e.Store.Put(ctx, key, value, was)
}

func (e *elsewhere) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	if err := e.err(); err != nil {
		return 0, err
	}
	return e.Store.Apply(ctx, ops)
}

func (e *elsewhere) ApplySince(ctx context.Context, ops []state.Op, prefix string, at state.Revision) (state.Revision, error) {
	all, _, err := e.List(ctx, prefix)
	if err != nil {
		return 0, err
	}
	for _, entry := range all {
		if entry.Revision > at {
			return 0, state.ErrConflict
		}
	}
	return e.Apply(ctx, ops)
}

// Watch ends with an error if the store is away.
func (e *elsewhere) Watch(ctx context.Context, prefix string, from state.Revision) iter.Seq2[state.Event, error] {
	return func(yield func(state.Event, error) bool) {
		for event, err := range e.Store.Watch(ctx, prefix, from) {
			if away := e.err(); away != nil {
				yield(state.Event{}, away)
				return
			}
			if !yield(event, err) {
				return
			}
		}
	}
}

// process is a process with a copy.
type process struct {
	*Store
	t   *testing.T
	end func()
}

// start starts a process whose copy is in dir.
func start(t *testing.T, dir string, e *elsewhere) *process {
	t.Helper()
	return run(t, options(e, opened(t, filepath.Join(dir, "state.db"))))
}

func run(t *testing.T, o Options) *process {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); s.Run(ctx) }()
	p := &process{Store: s, t: t}
	p.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		if err := o.Local.(*local.Store).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(p.end)
	return p
}

func options(e *elsewhere, copied state.Store) Options {
	return Options{Name: "elsewhere", Remote: e, Local: copied, Shared: []string{"a/", "b/", "rollout/"}, Whole: []string{"rollout/"},
		Wait: time.Second, Log: slog.New(slog.DiscardHandler)}
}

// settled waits until the disk has recorded that everything is in the shared store.
func (p *process) settled() {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		if p.owed(p.saved) == 0 {
			return
		}
		if time.Now().After(end) {
			p.t.Fatal("it does not hear of what it has written")
		}
	}
}

// owed returns how many entries are written on this machine only, according to its marks or
// to those on the disk.
func (p *process) owed(marks map[string]mark) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, m := range marks {
		if m.pending {
			n++
		}
	}
	return n
}

func (p *process) apply(words ...string) error {
	_, err := p.Apply(p.t.Context(), ops(words...))
	return err
}

// ops parses operations: "key=value", "-key".
func ops(words ...string) []state.Op {
	var all []state.Op
	for _, w := range words {
		key, value, put := strings.Cut(w, "=")
		all = append(all, state.Op{Key: strings.TrimPrefix(key, "-"), Value: []byte(value), Remove: !put})
	}
	return all
}

func contents(t *testing.T, s state.Store) string {
	t.Helper()
	entries, _, err := s.List(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for _, e := range entries {
		words = append(words, fmt.Sprintf("%s=%s", e.Key, e.Value))
	}
	return strings.Join(words, " ")
}

// until waits until a store has the wanted content.
func until(t *testing.T, what string, s state.Store, want string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); contents(t, s) != want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: %q, want %q", what, contents(t, s), want)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
