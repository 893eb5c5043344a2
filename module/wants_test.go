package module

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// wanting is a filter that imports functions, as module.name, and exports
// others.
func wanting(imports []string, exports ...string) []byte {
	b := wasm("", append([]string{"proxy_abi_version_0_2_1", "malloc"}, exports...)...)
	var section bytes.Buffer
	count(&section, len(imports))
	for _, name := range imports {
		module, name, _ := strings.Cut(name, ".")
		for _, s := range []string{module, name} {
			count(&section, len(s))
			section.WriteString(s)
		}
		section.Write([]byte{0, 0}) // a function of the first type
	}
	const types = 8 + 2 + 4 // magic, version, the first section
	head := bytes.NewBuffer(slices.Clone(b[:types]))
	head.WriteByte(2)
	count(head, section.Len())
	head.Write(section.Bytes())
	return append(head.Bytes(), b[types:]...)
}

func TestWants(t *testing.T) {
	b := wanting([]string{
		"env.proxy_log", "env.proxy_http_call", "env.proxy_log", "env.proxy_new_in_envoy_9", "env.pthread_equal", "other.proxy_log",
		"wasi_snapshot_preview1.fd_write", "wasi_unstable.fd_write", "wasi_unstable.clock_time_get",
	}, "proxy_on_request_headers", "proxy_on_configure", "proxy_on_memory_allocate", "_start")
	c, err := Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	want := Wants{
		Calls: []string{"proxy_http_call", "proxy_log"}, WASI: []string{"clock_time_get", "fd_write"},
		Callbacks: []string{"proxy_on_configure", "proxy_on_request_headers"},
	}
	if diff := cmp.Diff(want, c.Wants()); diff != "" {
		t.Error(diff)
	}
}

func computedFilter(url string, besides ...string) *definition.Filter {
	f := wanted("hello", url)
	f.AllowComputed, f.Allow = true, besides
	return f
}

// TestComputed checks that a module may use what it needs, and that a later one
// that needs more is rejected with the names until the definition allows them,
// and afterwards never again.
func TestComputed(t *testing.T) {
	small := wanting([]string{"env.proxy_log"}, "proxy_on_request_headers")
	large := wanting([]string{"env.proxy_log", "env.proxy_http_call"}, "proxy_on_request_headers")
	body := wanting([]string{"env.proxy_log"}, "proxy_on_request_headers", "proxy_on_request_body")
	least := wanting(nil)
	var content atomic.Pointer[[]byte]
	content.Store(&small)
	origin := newOrigin(t, givesNow(&content))
	m := newMachine(t)
	m.options.Poll = 5 * time.Millisecond

	r := m.start()
	r.set(computedFilter(origin.URL))
	first := r.until(Good, small)
	if got := first.Definition.Allow; !slices.Equal(got, []string{"proxy_log", "proxy_on_request_headers"}) {
		t.Errorf("allowed %q", got)
	}

	refused := func(r *resolving, serves []byte, name string) {
		t.Helper()
		sum := ""
		if serves != nil {
			sum = sumOf(serves)
		}
		f := r.next(func(s *Set) bool {
			f := s.Filters[0]
			return f.State == Failed && f.Module.SHA256 == sum && strings.Contains(f.Reason, name+", which no module of this filter was allowed before")
		}).Filters[0]
		if serves != nil && f.Definition.Allow == nil {
			t.Error("what goes on may use all")
		}
		p := r.last.Problems
		if len(p) != 1 || !strings.Contains(p[0].Hint, "allow: [computed, "+name+"]") {
			t.Errorf("problems %+v", p)
		}
	}
	content.Store(&large)
	refused(r, small, "proxy_http_call")
	content.Store(&body)
	refused(r, small, "proxy_on_request_body")
	content.Store(&least)
	r.until(Good, least)
	content.Store(&small) // was accepted before
	r.until(Good, small)
	content.Store(&large)
	refused(r, small, "proxy_http_call")

	r = m.start()
	r.set(computedFilter(origin.URL))
	refused(r, small, "proxy_http_call")
	m.end()
	m.options.Store = newStore(t) // another disk, without the module
	m.end = func() {}
	r = m.start()
	r.set(computedFilter(origin.URL))
	refused(r, nil, "proxy_http_call")

	r.set(computedFilter(origin.URL, "proxy_grpc_call"))
	refused(r, nil, "proxy_http_call")
	r.set(computedFilter(origin.URL, "proxy_http_call"))
	f := r.until(Good, large)
	if !slices.Equal(f.Definition.Allow, []string{"proxy_http_call", "proxy_log", "proxy_on_request_headers"}) {
		t.Errorf("allowed %q", f.Definition.Allow)
	}
	r.set(computedFilter(origin.URL)) // was accepted once
	r.until(Good, large)

	// If allow is something else for a while, computed starts afresh.
	explicit := wanted("hello", origin.URL)
	explicit.Allow = []string{"proxy_log"}
	r.set(explicit)
	r.until(Good, large)
	content.Store(&body)
	r.until(Good, body)
	r.set(computedFilter(origin.URL))
	r.until(Good, body)
}

// TestComputedOfOthers checks that what one server of a state has accepted
// first applies to the others, whether they start later or are running.
func TestComputedOfOthers(t *testing.T) {
	small := wanting([]string{"env.proxy_log"})
	large := wanting([]string{"env.proxy_log", "env.proxy_http_call"})
	process := statetest.Start(t, t.TempDir())
	defer process.End()
	var content atomic.Pointer[[]byte]
	content.Store(&small)
	origin := newOrigin(t, givesNow(&content))
	server := func() *resolving {
		return resolve(t, Options{State: process.Writer, Shared: process.Store, Poll: 5 * time.Millisecond})
	}
	one, other := server(), server()
	one.set(computedFilter(origin.URL))
	one.until(Good, small)
	await(t, process.Store, `"accepted":"proxy_log"`)

	content.Store(&large)
	other.set(computedFilter(origin.URL))
	other.until(Failed, nil)
	one.set(computedFilter(origin.URL, "proxy_http_call"))
	one.until(Good, large)
	other.until(Good, large) // like the first server
}

// await waits until the stored entry of a filter contains a text.
func await(t *testing.T, store state.Store, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if e, err := store.Get(t.Context(), filterKeys+"hello"); err == nil && bytes.Contains(e.Value, []byte(text)) {
			return
		} else if time.Now().After(end) {
			t.Fatalf("%s, %v", e.Value, err)
		}
	}
}

// givesNow responds with the current content.
func givesNow(content *atomic.Pointer[[]byte]) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.Write(*content.Load()) }
}
