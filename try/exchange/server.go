package exchange

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// Server is an upstream of an Envoy, or a service that a filter calls.
type Server struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil: the server has ended
}

// Accept listens on a port of the loopback interface, and calls do with each connection,
// until [Server.Close].
func Accept(do func(net.Conn)) (*Server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, conns: map[net.Conn]bool{}}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			s.enter(conn, do)
		}
	})
	return s, nil
}

func (s *Server) enter(conn net.Conn, do func(net.Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		conn.Close()
		return
	}
	s.conns[conn] = true
	s.wg.Go(func() {
		defer conn.Close()
		do(conn)
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	})
}

// Close ends the server and all its connections.
func (s *Server) Close() {
	s.listener.Close()
	s.mu.Lock()
	for conn := range s.conns {
		conn.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.wg.Wait()
}

// Port returns the port that the server listens on.
func (s *Server) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// Serve serves HTTP/1.1 and HTTP/2. It sends what answer returns for each request; nil
// means no answer. When ctx ends, it drops answers that it has not sent yet.
func Serve(ctx context.Context, answer func(m Message) *Answer) (*Server, error) {
	return Accept(func(conn net.Conn) {
		r := bufio.NewReader(conn)
		// "PRI" can't begin a request of HTTP/1.1.
		if first, err := r.Peek(3); err != nil {
			return
		} else if string(first) != http2.ClientPreface[:3] {
			serveH1(ctx, conn, r, answer)
			return
		}
		h, err := newH2(conn, r, false)
		if err != nil {
			return // Envoy has ended
		}
		serveH2(ctx, h, answer)
	})
}

func serveH2(ctx context.Context, h *H2, answer func(m Message) *Answer) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = h.Read(func(stream uint32, m *Message, reset bool) {
		if m == nil || reset {
			return
		}
		a := answer(*m)
		if a == nil || a.Hang {
			return
		}
		wg.Go(func() {
			if !wait(ctx, a.After) {
				return
			}
			if a.Reset {
				_ = h.Reset(stream)
			} else {
				_ = h.Send(stream, a.Message)
			}
		})
	})
}

// wait waits for d, and reports whether ctx lasted that long.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
