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

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"wasmxds/xds"
)

// silent opens streams, and says nothing.
func silent(t *testing.T, a *admission, n int) []discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := xds.NewGRPC((&guard{admission: a}).grpc()...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, listening{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	var all []discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	for range n {
		st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	return all
}

// listening is a server that only listens.
type listening struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
}

func (listening) StreamAggregatedResources(st discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	for {
		if _, err := st.Recv(); err != nil {
			return err
		}
	}
}

func TestSilentStream(t *testing.T) {
	a, err := newAdmission("", 10, 10, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.wait = 50 * time.Millisecond
	st := silent(t, a, 1)[0]
	if _, err := st.Recv(); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "no request within 50ms") {
		t.Errorf("ended with %v", err)
	}
	if n := a.strangers.Load(); n != 0 {
		t.Errorf("%d streams still count", n)
	}
}

func TestTooManySilentStreams(t *testing.T) {
	a, err := newAdmission("", 2, 2, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	a.wait = 5 * time.Second
	ended := make(chan error, 3)
	for _, st := range silent(t, a, 3) {
		go func() {
			_, err := st.Recv()
			ended <- err
		}()
	}
	if err := <-ended; status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ended with %v", err)
	}
	for range 2 {
		if err := <-ended; status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("ended with %v", err)
		}
	}
}

// served runs serveHTTP and gives its address.
func served(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serveHTTP(ctx, l, h, slog.New(slog.DiscardHandler)) }()
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
	address := served(t, http.NotFoundHandler())
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
