//go:build linux

package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"wasmxds/bounded"
)

// listening serves modules like xds-server.
func listening(t *testing.T, s *Server) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- bounded.Serve(ctx, l, s, bounded.Options{Connections: 10_000, Idle: time.Minute, ConnContext: ConnContext, Log: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// readers request a module and read the given number of bytes at the given
// interval, until the test ends. Those that are cut off come again.
func readers(t *testing.T, n int, address, path string, take int, every time.Duration) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for ctx.Err() == nil {
				readSlowly(ctx, address, path, take, every)
			}
		})
	}
	t.Cleanup(func() { stop(); all.Wait() })
}

func readSlowly(ctx context.Context, address, path string, take int, every time.Duration) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	_ = conn.(*net.TCPConn).SetReadBuffer(4096)
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return
	}
	buffer := make([]byte, max(take, 1))
	tick := time.NewTicker(every)
	defer tick.Stop()
	for until := time.After(25 * time.Second); ; {
		select {
		case <-ctx.Done():
			return
		case <-until:
			return
		case <-tick.C:
		}
		if take == 0 {
			// Read nothing, and only check whether the connection has ended.
			if closed(conn) {
				return
			}
			continue
		}
		if _, err := conn.Read(buffer); err != nil {
			return
		}
	}
}

// TestSlowDownloads checks that, however many clients read next to nothing and
// reconnect when they are cut off, honest downloads succeed, even from the same
// address.
func TestSlowDownloads(t *testing.T) {
	for _, c := range []struct {
		name  string
		n     int
		take  int
		every time.Duration
	}{
		{"nothing", 600, 0, 100 * time.Millisecond},
		{"next to nothing", 600, 1, 100 * time.Millisecond},
		{"some", 600, 4096, 250 * time.Millisecond},
		{"nothing, many", 1800, 0, 100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			store := newStore(t)
			info := large(t, store)
			s := New(Options{Store: store})
			address := listening(t, s)
			readers(t, c.n, address, Path(info.SHA256), c.take, c.every)
			eventually(t, func() error {
				if n := s.Stats(); n.Open+n.Waiting < int64(c.n)*9/10 {
					return fmt.Errorf("%d downloads are open, %d wait", n.Open, n.Waiting)
				}
				return nil
			})
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			var worst time.Duration
			for range 10 {
				start := time.Now()
				response, err := client.Get("http://" + address + Path(info.SHA256))
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, response.Body)
				response.Body.Close()
				if took := time.Since(start); took > worst {
					worst = took
				}
				if err != nil || n != info.Size {
					t.Errorf("%d of %d bytes: %v", n, info.Size, err)
				}
			}
			t.Logf("worst of honest downloads: %v; %+v", worst, s.Stats())
			// Alone, a download takes some milliseconds; if nobody is cut off,
			// half a minute.
			if worst > 5*time.Second {
				t.Errorf("an honest download took %v", worst)
			}
		})
	}
}

// TestPlacesAreShared checks that a peer with all places gives up some of them
// to others, however well it reads.
func TestPlacesAreShared(t *testing.T) {
	s := newPlaces(4)
	now := int64(0)
	fast := func() int64 { now += 1 << 30; return now }
	greedy, modest := netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32")
	var cut int
	var all []*place
	for range 50 {
		p, _ := s.enter(greedy, fast, func() { cut++ })
		all = append(all, p)
	}
	p, at := s.enter(modest, fast, func() { t.Error("the modest one was cut off") })
	if at {
		t.Fatal("there was a place: the test shows nothing")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if !p.wait(ctx) {
		t.Error("no place in time")
	}
	s.leave(p)
	for _, p := range all {
		s.leave(p)
	}
	if len(s.held)+len(s.aside)+len(s.peers)+s.line.Len()+s.waiting != 0 {
		t.Errorf("something is left: %+v", s)
	}
}

// TestPeerOf checks that shares are by address, for IPv6 by /64.
func TestPeerOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:80": "192.0.2.1/32", "[::ffff:192.0.2.1]:80": "192.0.2.1/32",
		"[2001:db8::1]:80": "2001:db8::/64", "[2001:db8::ffff:1%eth0]:80": "2001:db8::/64", "[2001:db8:0:1::1]:80": "2001:db8:0:1::/64",
	} {
		if got := peerOf(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
