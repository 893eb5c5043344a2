package bounded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// served runs Serve and returns its address.
func served(t *testing.T, h http.Handler, idle time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Serve(ctx, l, h, Options{Connections: 100, Idle: idle, Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestLargeHeadersAreRefused checks that more than 64 KiB of headers are rejected.
func TestLargeHeadersAreRefused(t *testing.T) {
	address := served(t, http.NotFoundHandler(), time.Minute)
	for size, want := range map[int]int{1 << 10: http.StatusNotFound, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		go fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nX-Large: %s\r\n\r\n", strings.Repeat("a", size)) // the server may not read it all
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode != want {
			t.Errorf("%d bytes: %v, %v, want %d", size, resp, err, want)
		}
		conn.Close()
	}
}

// TestIdleConnectionIsClosed checks that a connection without further requests is closed.
func TestIdleConnectionIsClosed(t *testing.T) {
	conn, err := net.Dial("tcp", served(t, http.NotFoundHandler(), 10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn) // until it is closed
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404") {
		t.Errorf("%q, %v; want an answer, and then the end", answer, err)
	}
}

// TestWhoHasMostConnectionsLosesOne checks that the peer with most connections loses one,
// preferably the one that has been idle longest.
func TestWhoHasMostConnectionsLosesOne(t *testing.T) {
	change := atMost(4)
	newOf := func(address string) *fakeConn {
		c := &fakeConn{remote: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}
		change(c, http.StateNew)
		return c
	}
	closed := func(want bool, all ...*fakeConn) {
		t.Helper()
		for _, c := range all {
			if c.closed != want {
				t.Errorf("%v: closed: %v", c.remote, c.closed)
			}
		}
	}
	greedy := []*fakeConn{newOf("192.0.2.1:1"), newOf("192.0.2.1:2"), newOf("192.0.2.1:3")}
	change(greedy[0], http.StateActive)
	first := newOf("192.0.2.2:1")
	closed(false, append(greedy, first)...)
	second := newOf("192.0.2.3:1") // one too many: the greedy peer's idle one is closed
	closed(true, greedy[1])
	closed(false, greedy[0], greedy[2], first, second)
	change(greedy[1], http.StateClosed)
	again := newOf("192.0.2.1:4") // the greedy peer only harms itself
	closed(true, greedy[2])
	closed(false, greedy[0], again, first, second)
	change(again, http.StateActive)
	third := newOf("192.0.2.4:1") // all others are busy
	closed(true, greedy[0])
	closed(false, again, first, second, third)
	change(again, http.StateIdle)
	change(again, http.StateClosed)
	change(greedy[0], http.StateIdle) // late, of a closed one
	change(first, http.StateHijacked)
	closed(false, newOf("192.0.2.5:1"), newOf("192.0.2.6:1"), second, third)
}

// fakeConn is one of a peer's connections.
type fakeConn struct {
	net.Conn
	remote net.Addr
	closed bool
}

func (c *fakeConn) RemoteAddr() net.Addr { return c.remote }
func (c *fakeConn) Close() error         { c.closed = true; return nil }

// TestIdleConnectionsKeepNobodyOut checks that idle connections are closed in favor of new
// ones.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	address := served(t, http.NotFoundHandler(), time.Minute)
	for range 150 { // served allows 100
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}
	resp, err := client.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
