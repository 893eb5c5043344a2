package peer_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
	"wasmxds/module/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is the part of an xds-server that exchanges modules.
type server struct {
	dir     string
	store   *module.Store
	http    *httptest.Server
	client  *peer.Client
	asked   atomic.Int64
	fetches []module.Fetch
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	var err error
	if s.store, err = module.Open(s.dir); err != nil {
		t.Fatal(err)
	}
	s.serve(t, peer.Handler(s.store, slog.New(slog.DiscardHandler)))
	return s
}

// serve makes a server respond with h to others.
func (s *server) serve(t *testing.T, h http.Handler) {
	s.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(s.http.Close)
}

// knows makes the client of a server.
func (s *server) knows(t *testing.T, others ...*server) {
	web := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(web.CloseIdleConnections)
	s.client = peer.New(peer.Options{
		Store: s.store, Limit: 1 << 20, Whole: 2 * time.Second, Stall: 500 * time.Millisecond,
		Observer: module.Observer{Fetched: func(f module.Fetch) { s.fetches = append(s.fetches, f) }},
		Others: func() []peer.Other {
			var all []peer.Other
			for _, o := range others {
				all = append(all, peer.Other{Name: o.http.URL, Ask: func(ctx context.Context, path string) (*http.Response, error) {
					r, err := http.NewRequestWithContext(ctx, http.MethodGet, o.http.URL+path, nil)
					if err != nil {
						return nil, err
					}
					return web.Do(r)
				}})
			}
			return all
		},
	})
}

func filter(seed string) []byte { return wasmtest.Filter{Header: "x-hello", Value: seed}.Module() }

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func (s *server) put(t *testing.T, content []byte) {
	t.Helper()
	if _, err := s.store.Put(bytes.NewReader(content), 1<<20); err != nil {
		t.Fatal(err)
	}
}

// files returns the files in the server's store, including unfinished ones.
func (s *server) files(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestGet checks that a module that one of several servers has is fetched by
// another, once, however many callers request it.
func TestGet(t *testing.T) {
	content := filter("1")
	has, hasNot, empty := start(t), start(t), start(t)
	has.put(t, content)
	empty.knows(t, hasNot, has)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if err := empty.client.Get(t.Context(), sumOf(content)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, err := empty.store.Stat(sumOf(content)); err != nil {
		t.Error(err)
	}
	if n := has.asked.Load(); n != 1 {
		t.Errorf("it was asked for %d times", n)
	}
	if len(empty.fetches) != 1 || empty.fetches[0].Scheme != "peer" || !empty.fetches[0].New || empty.fetches[0].Err != nil {
		t.Errorf("told %+v", empty.fetches)
	}
	for _, sum := range []string{sumOf([]byte("nobody has it")), "../../etc/passwd", ""} {
		if err := empty.client.Get(t.Context(), sum); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", sum, err)
		}
	}
}

// TestHurry checks that the first caller may give up or time out, while others
// that wait for the same module continue.
func TestHurry(t *testing.T) {
	for name, end := range map[string]struct {
		cause error
		first func(context.Context) (context.Context, context.CancelFunc)
	}{
		"leaves":           {context.Canceled, context.WithCancel},
		"has no time left": {context.DeadlineExceeded, expiring},
	} {
		t.Run(name, func(t *testing.T) {
			content := filter("1")
			has, empty := start(t), start(t)
			has.put(t, content)
			begun, proceed := make(chan struct{}, 1), make(chan struct{})
			slow := &server{}
			slow.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case begun <- struct{}{}:
				default:
				}
				select {
				case <-r.Context().Done():
				case <-proceed:
					peer.Handler(has.store, slog.New(slog.DiscardHandler)).ServeHTTP(w, r)
				}
			}))
			empty.knows(t, slow)
			ctx, cancel := end.first(t.Context())
			defer cancel()
			first, second := make(chan error), make(chan error)
			go func() { first <- empty.client.Get(ctx, sumOf(content)) }()
			<-begun
			go func() { second <- empty.client.Get(t.Context(), sumOf(content)) }()
			cancel()
			if err := <-first; !errors.Is(err, end.cause) {
				t.Errorf("first: %v", err)
			}
			close(proceed)
			if err := <-second; err != nil {
				t.Errorf("second: %v", err)
			}
		})
	}
}

// expiring returns a context whose deadline is exceeded when it is cancelled.
func expiring(ctx context.Context) (context.Context, context.CancelFunc) {
	e := &expires{Context: ctx, ended: make(chan struct{})}
	return e, sync.OnceFunc(func() { close(e.ended) })
}

type expires struct {
	context.Context
	ended chan struct{}
}

func (e *expires) Done() <-chan struct{} { return e.ended }

func (e *expires) Err() error {
	select {
	case <-e.ended:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// TestHostile checks that, whatever another server sends, none of it is stored,
// nothing blocks forever, and the next server is tried.
func TestHostile(t *testing.T) {
	content, other := filter("1"), filter("2")
	for name, c := range map[string]struct {
		says   http.HandlerFunc
		reason string
	}{
		"another module": {func(w http.ResponseWriter, _ *http.Request) { w.Write(other) }, "has sha256 " + sumOf(other)},
		"half of it":     {func(w http.ResponseWriter, _ *http.Request) { w.Write(content[:len(content)/2]) }, "has sha256 "},
		"half and gone": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			w.Write(content[:len(content)/2])
		}, "unexpected EOF"},
		"no module": {func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("<html>")) }, "has sha256 "},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, "is larger than 1048576 bytes"},
		"large": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<40))
			w.WriteHeader(http.StatusOK)
		}, "the limit is 1048576"},
		"silent": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "nothing came for 500ms"},
		"stalls": {func(w http.ResponseWriter, r *http.Request) {
			w.Write(content[:len(content)/2])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "nothing came for 500ms"},
		"drips": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(content[:1])
				http.NewResponseController(w).Flush()
				time.Sleep(50 * time.Millisecond)
			}
		}, "it took longer than 2s"},
		"refuses": {func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTeapot) }, "it answers 418"},
		"packed": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for r.Context().Err() == nil {
				if _, err := z.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			hostile, honest, empty := &server{}, start(t), start(t)
			hostile.serve(t, c.says)
			empty.knows(t, hostile)
			began := time.Now()
			err := empty.client.Get(t.Context(), sumOf(content))
			if err == nil || !strings.Contains(err.Error(), c.reason) || !strings.Contains(err.Error(), hostile.http.URL) {
				t.Errorf("%v, want %q", err, c.reason)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			if left := empty.files(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			honest.put(t, content)
			empty.knows(t, hostile, honest)
			if err := empty.client.Get(t.Context(), sumOf(content)); err != nil {
				t.Errorf("from the next: %v", err)
			}
		})
	}
}

// TestBusy checks that a server bounds the number of concurrent responses.
func TestBusy(t *testing.T) {
	content := filter(strings.Repeat("x", 1000))
	has := start(t)
	has.put(t, content)
	release := make(chan struct{})
	h := peer.Handler(has.store, slog.New(slog.DiscardHandler))
	var under sync.WaitGroup
	begun := make(chan struct{})
	for range 8 {
		under.Go(func() {
			r := httptest.NewRequest(http.MethodGet, peer.Folder+sumOf(content), nil)
			h.ServeHTTP(&holding{ResponseRecorder: httptest.NewRecorder(), begun: begun, release: release}, r)
		})
		<-begun
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, peer.Folder+sumOf(content), nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("one more: %d", w.Code)
	}
	close(release)
	under.Wait()
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, peer.Folder+sumOf(content), nil))
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), content) {
		t.Errorf("afterwards: %d, %d bytes", w.Code, w.Body.Len())
	}
}

// holding is a client that does not read until it is released.
type holding struct {
	*httptest.ResponseRecorder
	begun   chan struct{}
	release chan struct{}
}

func (h *holding) Write(b []byte) (int, error) {
	h.begun <- struct{}{}
	<-h.release
	return h.ResponseRecorder.Write(b)
}
