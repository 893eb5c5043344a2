package module

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.uber.org/goleak"

	"wasmxds/definition"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resolving is a running Resolver.
type resolving struct {
	t       *testing.T
	updates chan *definition.Set
	sets    chan *Set
	last    *Set
	stop    func()
}

func resolve(t *testing.T, options Options) *resolving {
	t.Helper()
	if options.Store == nil {
		options.Store = newStore(t)
	}
	if options.Fetchers == nil {
		origin := NewHTTP()
		t.Cleanup(origin.Close)
		options.Fetchers = map[string]Fetcher{"http": origin}
	}
	options.BackOff = func() BackOff { return backoff.NewConstantBackOff(2 * time.Millisecond) }
	ctx, cancel := context.WithCancel(t.Context())
	r := &resolving{t: t, updates: make(chan *definition.Set), sets: make(chan *Set, 1000)}
	ended := make(chan error)
	go func() { ended <- New(options).Run(ctx, r.updates, func(s *Set) { r.sets <- s }) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// set sends a new set to the resolver, and returns the first result for it.
func (r *resolving) set(filters ...*definition.Filter) *Set {
	r.t.Helper()
	in := &definition.Set{Filters: filters, Listeners: []*definition.Listener{{Name: "web"}}}
	r.updates <- in
	return r.next(func(s *Set) bool { return len(s.Listeners) == 1 && s.Listeners[0] == in.Listeners[0] })
}

// next receives sets until one satisfies the condition, possibly the last one
// received.
func (r *resolving) next(is func(*Set) bool) *Set {
	r.t.Helper()
	if r.last != nil && is(r.last) {
		return r.last
	}
	deadline := time.After(time.Minute)
	for {
		select {
		case r.last = <-r.sets:
			if is(r.last) {
				return r.last
			}
		case <-deadline:
			if r.last != nil {
				for _, f := range r.last.Filters {
					r.t.Logf("%s %s: %+v: %s", f.Definition.Name, f.State, f.Module, f.Reason)
				}
			}
			r.t.Fatal("no such set came in time")
		}
	}
}

// until waits for a state of the first filter.
func (r *resolving) until(state State, content []byte) *Filter {
	r.t.Helper()
	sum := ""
	if content != nil {
		sum = sumOf(content)
	}
	return r.next(func(s *Set) bool {
		return s.Filters[0].State == state && s.Filters[0].Module.SHA256 == sum
	}).Filters[0]
}

func wanted(name, url string) *definition.Filter {
	return &definition.Filter{
		Name: name, Pos: definition.Position{File: name + ".yaml", Line: 3},
		Module: definition.Module{URL: url, Fetch: definition.Mirror},
	}
}

func pinned(name, url string, content []byte) *definition.Filter {
	f := wanted(name, url)
	f.Module.SHA256 = sumOf(content)
	return f
}

// answering is an HTTP server whose responses can be changed.
type answering struct {
	URL      string
	answer   atomic.Value // http.HandlerFunc
	requests atomic.Int64
}

func newOrigin(t *testing.T, answer http.HandlerFunc) *answering {
	t.Helper()
	var a answering
	a.set(answer)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.requests.Add(1)
		a.answer.Load().(http.HandlerFunc)(w, r)
	}))
	t.Cleanup(s.Close)
	a.URL = s.URL + "/hello.wasm"
	return &a
}

func (a *answering) set(answer http.HandlerFunc) { a.answer.Store(answer) }

func gives(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { w.Write(content) }
}

func refuses(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", status) }
}

func TestOrigins(t *testing.T) {
	good := filter("good")
	tests := map[string]struct {
		answer http.HandlerFunc
		pin    []byte
		reason string
	}{
		"404":        {answer: refuses(404), reason: "/hello.wasm: 404 Not Found"},
		"500":        {answer: refuses(500), reason: "/hello.wasm: 500 Internal Server Error"},
		"HTML":       {answer: gives([]byte("<html>log in</html>")), reason: "/hello.wasm is an HTML page, not a Wasm module"},
		"wrong sha":  {answer: gives(filter("other")), pin: good, reason: "the definition pins " + sumOf(good)},
		"truncating": {answer: truncating(good), reason: "closed the connection in the middle"},
		"too large":  {answer: gives(filter(strings.Repeat("x", limit))), reason: "is larger than"},
		"refusing":   {answer: hangUp, reason: "closed the connection without an answer"},
		"redirects":  {answer: redirects, reason: "more than 5 redirects"},
		"slow":       {answer: slow, reason: "it took longer than"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			origin := newOrigin(t, test.answer)
			options := Options{Limit: limit}
			if name == "slow" {
				options.Timeout = 30 * time.Millisecond
			}
			r := resolve(t, options)
			f := wanted("hello", origin.URL)
			if test.pin != nil {
				f = pinned("hello", origin.URL, test.pin)
			}
			r.set(f)
			got := r.until(Failed, nil)
			if !strings.Contains(got.Reason, test.reason) || got.Definition != f || got.Wanted != f || got.Ready() {
				t.Errorf("got %+v, want the reason %q", got, test.reason)
			}
			if p := r.last.Problems; len(p) != 1 || p[0].File != "hello.yaml" || p[0].Line != 3 || p[0].Message != got.Reason || p[0].Warning {
				t.Errorf("problems %+v", p)
			}
			origin.set(gives(good)) // corrected, it continues by itself
			if got := r.until(Good, good); got.Reason != "" || len(r.last.Problems) != 0 || !got.Ready() {
				t.Errorf("mended: %+v, problems %+v", got, r.last.Problems)
			}
		})
	}
}

func truncating(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:len(content)/2])
		w.(http.Flusher).Flush()
		hangUp(w, r)
	}
}

func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func slow(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func redirects(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.Path+"x", http.StatusFound)
}

// TestSlowOrigin checks that a slow origin delays neither other filters nor
// listeners.
func TestSlowOrigin(t *testing.T) {
	stuck, quick := newOrigin(t, slow), newOrigin(t, gives(filter("quick")))
	r := resolve(t, Options{Fetches: 2})
	a, b := wanted("a", stuck.URL), wanted("b", quick.URL)
	set := r.set(a, b)
	if f := set.Filters[0]; f.State != Fetching || f.Ready() || !strings.HasSuffix(f.Reason, "/hello.wasm is being fetched") {
		t.Errorf("%+v", f)
	}
	r.until(Fetching, nil)
	r.next(func(s *Set) bool { return s.Filters[1].State == Good && s.Filters[0].State == Fetching })
}

// TestLastGood checks that, while a new module is unavailable, definition and
// module stay the last ones that were good together.
func TestLastGood(t *testing.T) {
	first, second := filter("1"), filter("2")
	good, bad := newOrigin(t, gives(first)), newOrigin(t, refuses(404))
	r := resolve(t, Options{})
	f1 := wanted("hello", good.URL)
	r.set(f1)
	r.until(Good, first)
	f2 := wanted("hello", bad.URL)
	f2.RootID = "new"
	r.set(f2)
	got := r.until(Failed, first)
	if got.Definition != f1 || got.Wanted != f2 || !strings.HasSuffix(got.Reason, fmt.Sprintf("404 Not Found; it keeps running %.12s", sumOf(first))) {
		t.Errorf("%+v", got)
	}
	bad.set(gives(second))
	if got := r.until(Good, second); got.Definition != f2 {
		t.Errorf("%+v", got)
	}
	r.set() // a removed filter is forgotten
	bad.set(refuses(404))
	r.set(wanted("hello", bad.URL))
	r.until(Failed, nil)
}

// TestPinnedIsNotFetched checks that a pinned module in the store needs no
// origin.
func TestPinnedIsNotFetched(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	store := newStore(t)
	put(t, store, content)
	r := resolve(t, Options{Store: store})
	r.set(pinned("hello", origin.URL, content))
	r.until(Good, content)
	if n := origin.requests.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// TestConfigChange checks that a change of the configuration alone keeps other
// pointers and fetches nothing.
func TestConfigChange(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	r := resolve(t, Options{})
	a, b := wanted("a", origin.URL), wanted("b", origin.URL)
	r.set(a, b)
	r.next(func(s *Set) bool { return s.Filters[0].State == Good && s.Filters[1].State == Good })
	before := r.last.Filters
	a2 := *a
	a2.RootID = "changed"
	set := r.set(&a2, b)
	if got := set.Filters[0]; got.State != Good || got.Definition != &a2 || got.Module.SHA256 != sumOf(content) {
		t.Errorf("changed: %+v", got)
	}
	if set.Filters[1] != before[1] {
		t.Error("the other filter has a new pointer")
	}
	if n := origin.requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1 for all", n)
	}
}

func TestPolling(t *testing.T) {
	var tag atomic.Value
	tag.Store("1")
	var same atomic.Int64
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		now := tag.Load().(string)
		w.Header().Set("ETag", `"`+now+`"`)
		if r.Header.Get("If-None-Match") == `"`+now+`"` {
			same.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		if now == "bad" {
			w.Write([]byte("<html>"))
			return
		}
		w.Write(filter(now))
	})
	r := resolve(t, Options{Poll: 2 * time.Millisecond})
	r.set(wanted("hello", origin.URL))
	r.until(Good, filter("1"))
	eventually(t, func() error {
		if same.Load() < 3 {
			return errors.New("no conditional requests")
		}
		return nil
	})
	tag.Store("2")
	r.until(Good, filter("2"))
	tag.Store("bad") // the same bad content isn't fetched repeatedly
	r.until(Failed, filter("2"))
	before := same.Load()
	eventually(t, func() error {
		if same.Load() < before+3 {
			return errors.New("no conditional requests for bad content")
		}
		return nil
	})
	if f := r.last.Filters[0]; f.State != Failed {
		t.Errorf("%+v", f)
	}
	tag.Store("3")
	r.until(Good, filter("3"))

	// An unavailable origin is a warning, not a failure.
	origin.set(refuses(503))
	set := r.next(func(s *Set) bool { return len(s.Problems) == 1 })
	if f := set.Filters[0]; f.State != Good || f.Reason != "" || !set.Problems[0].Warning {
		t.Errorf("%+v, problems %+v", f, set.Problems)
	}
}

func TestDirect(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	r := resolve(t, Options{})
	f := pinned("hello", origin.URL, content)
	f.Module.Fetch = definition.Direct
	r.set(f)
	r.until(Good, content)
	if n := origin.requests.Load(); n != 0 {
		t.Errorf("%d requests for a pinned one", n)
	}
	unpinned := wanted("hello", origin.URL)
	unpinned.Module.Fetch = definition.Direct
	r.set(unpinned)
	if got := r.until(Good, content); !got.Ready() {
		t.Errorf("%+v", got)
	}
}

func TestUnknownScheme(t *testing.T) {
	r := resolve(t, Options{})
	r.set(wanted("hello", "gopher://example/hello.wasm"))
	if got := r.until(Failed, nil); !strings.Contains(got.Reason, `"gopher"`) {
		t.Errorf("%+v", got)
	}
}

// TestPinnedIsFetchedAgain checks that a module that vanished from the store is
// fetched again.
func TestPinnedIsFetchedAgain(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	store := newStore(t)
	r := resolve(t, Options{Store: store})
	f := pinned("hello", origin.URL, content)
	r.set(f)
	r.until(Good, content)
	if err := os.Remove(store.path(sumOf(content))); err != nil {
		t.Fatal(err)
	}
	r.set()
	r.set(f)
	r.until(Good, content)
	if _, err := store.Stat(sumOf(content)); err != nil {
		t.Error(err)
	}
}

// TestLostWithOriginDown checks that a lost module isn't served while its
// origin is unavailable.
func TestLostWithOriginDown(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	store := newStore(t)
	r := resolve(t, Options{Store: store})
	f := wanted("hello", origin.URL)
	f.Module.Pull = definition.PullAlways
	r.set(f)
	r.until(Good, content)
	if err := os.Remove(store.path(sumOf(content))); err != nil {
		t.Fatal(err)
	}
	origin.set(refuses(503))
	again := *f
	r.set(&again)
	if got := r.next(func(s *Set) bool { return s.Filters[0].State == Failed }).Filters[0]; !strings.Contains(got.Reason, "503") {
		t.Errorf("%+v", got)
	}
	origin.set(gives(content))
	r.until(Good, content)
	if _, err := store.Stat(sumOf(content)); err != nil {
		t.Error(err)
	}
}

// eventually waits until check returns nil.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}
