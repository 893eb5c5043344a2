package harness_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// site is a server of both protocols that answers with the headers it got and
// those that it adds, as an Envoy with filters before an upstream.
type site struct {
	*http.Server
	address string
	chain   atomic.Pointer[[]string]
	status  atomic.Int32 // 0: 200
	cut     atomic.Bool  // answers end in the middle
}

func newSite(t *testing.T) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{address: l.Addr().String()}
	s.chain.Store(&[]string{"a", "b"})
	s.Server = &http.Server{Handler: s, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return s
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if code := s.status.Load(); code != 0 {
		w.WriteHeader(int(code))
		return
	}
	r.Header["X-Chain"] = *s.chain.Load()
	r.Header.Set("Upstream", "there")
	_ = r.Header.Write(w)
	if s.cut.Load() {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	if strings.Contains(r.URL.RawQuery, "stream") {
		for range 10 {
			fmt.Fprint(w, "Line: 1\r\n")
			_ = http.NewResponseController(w).Flush()
			if !rest(r.Context(), 10*time.Millisecond) {
				return
			}
		}
	}
}

func rest(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// open opens connections to the site: those of one client are enough to see
// what is to be seen.
func (s *site) open(t *testing.T) *harness.Connections {
	t.Helper()
	c := harness.OpenConnections(t.Context(), harness.ConnectionsConfig{
		Address: s.address, Header: "X-Chain", HTTP1: 2, HTTP2: 1, Long: 1, Every: 20 * time.Millisecond})
	t.Cleanup(c.Stop)
	return c
}

// each asks for an exchange of each kind, and says which is missing.
func each(all []harness.Exchange, which func(harness.Exchange) bool) error {
	for _, http2 := range []bool{false, true} {
		for _, long := range []bool{false, true} {
			if !slices.ContainsFunc(all, func(e harness.Exchange) bool { return e.HTTP2 == http2 && e.Long == long && which(e) }) {
				return fmt.Errorf("none of HTTP/2 %v, long %v", http2, long)
			}
		}
	}
	return nil
}

// TestConnections: requests of all kinds go out again and again, on the same
// connections, and what they met is written down in its order.
func TestConnections(t *testing.T) {
	s := newSite(t)
	c := s.open(t)
	is := func(chain ...string) func(harness.Exchange) bool {
		return func(e harness.Exchange) bool {
			return e.Err == nil && e.Status == 200 && slices.Equal(e.Chain, chain) && e.Upstream == "there" && e.Answered.After(e.Began)
		}
	}
	poll(t, func() error { return each(c.Exchanges(0), is("a", "b")) })
	s.chain.Store(&[]string{"b", "a", "b"})
	seen := len(c.Exchanges(0))
	poll(t, func() error { return each(c.Exchanges(seen), is("b", "a", "b")) })
	poll(t, func() error {
		for _, e := range c.Latest() {
			if !is("b", "a", "b")(e) || e.Long {
				return fmt.Errorf("the latest is %v", e)
			}
		}
		return nil
	})
	if n := len(c.Latest()); n != 4 {
		t.Errorf("%d clients send requests that are answered at once, want 4", n)
	}
	c.Stop()
	for _, e := range c.Exchanges(0) {
		if e.Err != nil {
			t.Error(e)
		}
	}
	opened := c.Opened()
	if len(opened) != 5 {
		t.Errorf("%d connections were opened, want 5", len(opened))
	}
	for _, o := range opened {
		if !o.Closed.IsZero() {
			t.Errorf("closed, it says: %+v", o)
		}
	}
}

// TestConnectionsFailed: answers that are none, or end too early.
func TestConnectionsFailed(t *testing.T) {
	s := newSite(t)
	c := s.open(t)
	s.status.Store(503)
	poll(t, func() error {
		return each(c.Exchanges(0), func(e harness.Exchange) bool { return e.Err != nil && e.Status == 503 })
	})
	s.status.Store(0)
	s.cut.Store(true)
	poll(t, func() error {
		return each(c.Exchanges(0), func(e harness.Exchange) bool { return e.Err != nil && e.Status == 200 })
	})
	s.cut.Store(false)
	s.chain.Store(&[]string{"mended"})
	poll(t, func() error {
		return each(c.Exchanges(0), func(e harness.Exchange) bool { return e.Err == nil && slices.Equal(e.Chain, []string{"mended"}) })
	})
	_ = s.Close()
	poll(t, func() error {
		return each(c.Exchanges(0), func(e harness.Exchange) bool { return e.Connection < 0 && e.Err != nil })
	})
}

// TestConnectionsClosed: connections that are drained are told from those that
// are cut, also when nothing was under way, and others are opened.
func TestConnectionsClosed(t *testing.T) {
	s := newSite(t)
	p, err := harness.StartProxy(s.address)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c := harness.OpenConnections(t.Context(), harness.ConnectionsConfig{
		Address: p.Address(), Header: "X-Chain", HTTP1: 1, HTTP2: 1, Every: 50 * time.Millisecond})
	defer c.Stop()
	open := func(n int) {
		t.Helper()
		poll(t, func() error {
			all := c.Opened()
			for _, http2 := range []bool{false, true} {
				if !slices.ContainsFunc(all[min(n, len(all)):], func(o harness.Connection) bool { return o.HTTP2 == http2 && o.Closed.IsZero() }) {
					return errors.New("none is open")
				}
			}
			return nil
		})
	}
	open(0)
	before := time.Now()
	p.Cut()
	open(2)
	s.SetKeepAlivesEnabled(false)
	poll(t, func() error {
		all := c.Opened()
		for _, why := range []string{"EOF", "Connection: close", "GOAWAY"} {
			if !slices.ContainsFunc(all, func(o harness.Connection) bool {
				return strings.Contains(o.Why, why) && o.Closed.After(before) && o.Closed.After(o.Opened)
			}) {
				return fmt.Errorf("none was closed by %s: %+v", why, all)
			}
		}
		return nil
	})
}
