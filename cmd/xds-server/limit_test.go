package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// served runs serveHTTP and gives its address.
func served(t *testing.T, h http.Handler, idle time.Duration) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveHTTP(ctx, l, h, idle, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// TestLargeHeaders: more than 64 KiB of headers are refused.
func TestLargeHeaders(t *testing.T) {
	address := served(t, http.NotFoundHandler(), time.Minute)
	for size, want := range map[int]int{1 << 10: http.StatusNotFound, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
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

// TestIdleConnection: one on which nothing more is asked for is closed.
func TestIdleConnection(t *testing.T) {
	conn, err := net.Dial("tcp", served(t, http.NotFoundHandler(), 10*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
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

// TestTooManyConnections: those beyond the limit are closed, and others come
// in when some have ended.
func TestTooManyConnections(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ConnState: atMost(2)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	defer func() {
		server.Close()
		<-ended
	}()
	ask := func() (net.Conn, error) {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return conn, err
		}
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		return conn, err
	}
	var open []net.Conn
	for range 2 {
		conn, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	if conn, err := ask(); err == nil {
		t.Error("a third connection was served")
	} else {
		conn.Close()
	}
	open[0].Close()
	if err := poll(5*time.Second, func() error {
		conn, err := ask()
		conn.Close()
		return err
	}); err != nil {
		t.Errorf("nobody else gets in: %v", err)
	}
	open[1].Close()
}
