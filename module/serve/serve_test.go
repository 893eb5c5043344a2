package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
)

func newStore(t *testing.T) *module.Store {
	t.Helper()
	s, err := module.Open(filepath.Join(t.TempDir(), "modules"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// downloads records the events of downloads.
type downloads struct {
	mu     sync.Mutex
	events []string
}

func (d *downloads) add(peer netip.Addr, sha256 string, size int64, event Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, fmt.Sprintf("%v %.6s %v", peer, sha256, event))
}

func (d *downloads) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.events)
}

func serve(t *testing.T, options Options) (*Server, *downloads, string) {
	t.Helper()
	var d downloads
	options.OnDownload = d.add
	s := New(options)
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	return s, &d, h.URL
}

func TestServer(t *testing.T) {
	store := newStore(t)
	content := wasmtest.Filter{Header: "x-hello", Value: "1"}.Module()
	info, err := store.Put(bytes.NewReader(content), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	tag := `"` + info.SHA256 + `"`
	started, done := "127.0.0.1 "+info.SHA256[:6]+" started", "127.0.0.1 "+info.SHA256[:6]+" done"
	tests := []struct {
		name, method, path string
		header             map[string]string
		status             int
		body               string
		events             []string
	}{
		{name: "GET", status: 200, body: string(content), events: []string{started, done}},
		{name: "HEAD", method: "HEAD", status: 200},
		{name: "range", header: map[string]string{"Range": "bytes=0-3"}, status: 206, body: "\x00asm"},
		{name: "range of another", header: map[string]string{"Range": "bytes=0-3", "If-Range": `"x"`}, status: 200, body: string(content), events: []string{started, done}},
		{name: "had already", header: map[string]string{"If-None-Match": tag}, status: 304},
		{name: "POST", method: "POST", status: 405, body: "only GET and HEAD are served here\n"},
		{name: "unknown", path: Path(strings.Repeat("0", 64)), status: 404, body: "no such module\n"},
		{name: "no hash", path: "/modules/../../etc/passwd.wasm", status: 404, body: "no such module\n"},
		{name: "root", path: "/", status: 404, body: "no such module\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, seen, url := serve(t, Options{Store: store})
			if test.path == "" {
				test.path = Path(info.SHA256)
			}
			r, err := http.NewRequestWithContext(t.Context(), test.method, url+test.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range test.header {
				r.Header.Set(k, v)
			}
			response, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != test.status || string(body) != test.body {
				t.Errorf("got %d %q, %v, want %d %q", response.StatusCode, body, err, test.status, test.body)
			}
			if test.status < 400 && (response.Header.Get("ETag") != tag || !strings.Contains(response.Header.Get("Cache-Control"), "immutable")) {
				t.Errorf("header %v", response.Header)
			}
			eventually(t, func() error { return wantEvents(seen, test.events) })
		})
	}
}

func wantEvents(d *downloads, want []string) error {
	if got := d.list(); !slices.Equal(got, want) {
		return fmt.Errorf("events %q, want %q", got, want)
	}
	return nil
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

// large is a module that doesn't fit into socket buffers.
func large(t *testing.T, store *module.Store) module.Info {
	t.Helper()
	info, err := store.Put(bytes.NewReader(wasmtest.Filter{Size: 20 << 20}.Module()), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestServerAborted(t *testing.T) {
	store := newStore(t)
	info := large(t, store)
	s, seen, url := serve(t, Options{Store: store})
	response, err := http.Get(url + Path(info.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(response.Body, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	response.Body.Close() // ends the connection
	sum := info.SHA256[:6]
	eventually(t, func() error {
		return wantEvents(seen, []string{"127.0.0.1 " + sum + " started", "127.0.0.1 " + sum + " aborted"})
	})
	eventually(t, func() error {
		if got := s.Stats(); got.Aborted != 1 || got.Done != 0 || got.Open != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}

func TestServerLine(t *testing.T) {
	store := newStore(t)
	info := large(t, store)
	s, seen, url := serve(t, Options{Store: store, Downloads: 1, Waiting: 1})
	get := func() *http.Response {
		response, err := http.Get(url + Path(info.SHA256))
		if err != nil {
			t.Fatal(err)
		}
		return response
	}
	first := get() // and doesn't read it
	defer first.Body.Close()
	second := make(chan *http.Response)
	go func() { second <- get() }()
	eventually(t, func() error {
		if got := s.Stats(); got.Waiting != 1 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	third := get()
	third.Body.Close()
	if third.StatusCode != http.StatusServiceUnavailable || third.Header.Get("Retry-After") == "" {
		t.Errorf("the third got %v %v", third.Status, third.Header)
	}
	for _, response := range []*http.Response{first, nil} {
		if response == nil {
			response = <-second
			defer response.Body.Close()
		}
		if n, err := io.Copy(io.Discard, response.Body); n != info.Size || err != nil {
			t.Errorf("got %d bytes, %v", n, err)
		}
	}
	eventually(t, func() error {
		if got := s.Stats(); got.Done != 2 || got.Refused != 1 || got.Bytes != 2*info.Size {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if got := seen.list(); len(got) != 6 { // the rejected one had started as well
		t.Errorf("events %q", got)
	}
}

func TestServerMemory(t *testing.T) {
	store := newStore(t)
	info := large(t, store)
	_, _, url := serve(t, Options{Store: store})
	const rounds = 5
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.0\r\n\r\n", Path(info.SHA256))
		n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, conn, make([]byte, 64<<10))
		conn.Close()
		if n < info.Size || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / rounds; got > uint64(info.Size)/10 {
		t.Errorf("a download of %d bytes takes %d bytes of memory", info.Size, got)
	}
}

// TestServerMissing checks that a missing module is served if Missing gets it.
func TestServerMissing(t *testing.T) {
	store := newStore(t)
	content := wasmtest.Filter{Header: "x-hello", Value: "1"}.Module()
	sum := sha256.Sum256(content)
	name := hex.EncodeToString(sum[:])
	var asked []string
	s, _, url := serve(t, Options{Store: store, Missing: func(_ context.Context, sha256 string) error {
		asked = append(asked, sha256)
		if sha256 != name {
			return fs.ErrNotExist
		}
		_, err := store.Put(bytes.NewReader(content), 1<<20)
		return err
	}})
	for _, c := range []struct {
		sha256 string
		status int
	}{{strings.Repeat("0", 64), 404}, {name, 200}, {name, 200}} {
		r, err := http.Get(url + Path(c.sha256))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != c.status || err != nil || c.status == 200 && !bytes.Equal(got, content) {
			t.Errorf("%s: %d, %d bytes, %v", c.sha256, r.StatusCode, len(got), err)
		}
	}
	if len(asked) != 2 || s.Stats().NotFound != 1 {
		t.Errorf("asked for %v, %d not found", asked, s.Stats().NotFound)
	}
}
