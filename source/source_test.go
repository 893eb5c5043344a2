package source

import (
	"context"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/definition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// deadline is how long a test waits for what is to come; patience, for what is
// not to come.
const (
	deadline = 10 * time.Second
	patience = 300 * time.Millisecond
)

// running is a Directory that runs until its test ends.
type running struct {
	*testing.T
	*Directory
	updates chan Update
	stop    func()
}

func start(t *testing.T, d *Directory) *running {
	t.Helper()
	if d.Log == nil {
		d.Log = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{T: t, Directory: d, updates: make(chan Update, 1000)}
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx, func(u Update) { r.updates <- u }) }()
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

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// next waits for an update.
func (r *running) next() Update {
	r.Helper()
	select {
	case u := <-r.updates:
		return u
	case <-time.After(deadline):
		r.Fatal("no update")
		panic("unreachable")
	}
}

// until waits for an update that has these filters and this many problems,
// warnings included. None before it may have fewer filters than both the
// first state and this one have in common.
func (r *running) until(filters string, problems int) Update {
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

// filterNames gives the filters' names, with their rootID where they have one.
func filterNames(u Update) string {
	if u.Set == nil {
		return "unknown"
	}
	var names []string
	for _, f := range u.Set.Filters {
		if f.RootID != "" {
			names = append(names, f.Name+"="+f.RootID)
		} else {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, " ")
}

// filter is a document of one filter.
func filter(name, rootID string) string {
	return fmt.Sprintf("kind: WasmFilter\nname: %s\nmodule: {url: /modules/%s.wasm}\nrootID: %q\n", name, name, rootID)
}

// listener is a document of one listener. Each name has its own port.
func listener(name string) string {
	port := 1024 + crc32.ChecksumIEEE([]byte(name))%60000
	return fmt.Sprintf("kind: Listener\nname: %s\naddress: 127.0.0.1:%d\nroutes:\n- {prefix: /, upstream: \"127.0.0.1:9000\"}\n", name, port)
}

// attached is a filter in these listeners.
func attached(name, rootID, listeners string) string {
	return filter(name, rootID) + "attach: {listeners: [" + listeners + "]}\n"
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

// replace writes a file beside another and renames it onto that.
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

func byName(u Update, name string) *definition.Filter {
	i := slices.IndexFunc(u.Set.Filters, func(f *definition.Filter) bool { return f.Name == name })
	if i < 0 {
		return nil
	}
	return u.Set.Filters[i]
}
