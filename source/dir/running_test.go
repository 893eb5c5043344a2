package dir

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/definition"
	"wasmxds/source"
	"wasmxds/source/internal/sourcetest"
	"wasmxds/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for an event; patience, how long for the
// absence of one.
const (
	deadline = time.Minute
	patience = 300 * time.Millisecond
)

// running is a joined Directory that runs until its test ends.
type running struct {
	*testing.T
	*Directory
	updates chan source.Update
	stop    func()
}

func start(t *testing.T, d *Directory, options ...func(*source.Join)) *running {
	t.Helper()
	if d.Log == nil {
		d.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{T: t, Directory: d, updates: make(chan source.Update, 1000)}
	done := make(chan error, 1)
	go func() { done <- joined(d, options...).Run(ctx, func(u source.Update) { r.updates <- u }) }()
	ended := false
	r.stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(deadline):
			t.Error("Run did not end")
		}
	}
	t.Cleanup(r.stop)
	return r
}

// joined returns a Join of one Directory.
func joined(d *Directory, options ...func(*source.Join)) *source.Join {
	j := &source.Join{Sources: []source.Source{{Name: source.Dir, Base: d.Path, Discoverer: d}}, Log: d.Log}
	for _, option := range options {
		option(j)
	}
	return j
}

func in(w *state.Writer) func(*source.Join) { return func(j *source.Join) { j.State = w } }

func removeAll(j *source.Join) { j.RemoveAll = true }

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// next waits for an update.
func (r *running) next() source.Update {
	r.Helper()
	select {
	case u := <-r.updates:
		return u
	case <-time.After(deadline):
		r.Fatal("no update")
		panic("unreachable")
	}
}

// until waits for an update with these filters and this many problems,
// including warnings. No earlier update may lack filters that both the first
// state and this one have.
func (r *running) until(filters string, problems int) source.Update {
	r.Helper()
	timeout := time.After(deadline)
	var last string
	for {
		select {
		case u := <-r.updates:
			last = fmt.Sprintf("filters %q, problems %v", filterNames(u), u.Problems)
			if filterNames(u) == filters && len(u.Problems) == problems {
				return u
			}
		case <-timeout:
			r.Fatalf("waited for filters %q and %d problems; last update: %s", filters, problems, last)
		}
	}
}

// quiet checks that no update comes.
func (r *running) quiet() {
	r.Helper()
	select {
	case u := <-r.updates:
		r.Errorf("an update that nothing asked for: filters %q, problems %v", filterNames(u), u.Problems)
	case <-time.After(patience):
	}
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// replace writes a temporary file and renames it.
func replace(t testing.TB, path, content string) {
	t.Helper()
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	write(t, temp, content)
	must(t, os.Rename(temp, path))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var (
	filter   = sourcetest.Filter
	listener = sourcetest.Listener
	routed   = sourcetest.Routed
)

func filterNames(u source.Update) string { return sourcetest.FilterNames(u.Set) }

func byName(u source.Update, name string) *definition.Filter { return sourcetest.ByName(u.Set, name) }
