package h2

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
)

// Handler begins a stream. It is called by the connection's reader and must not
// wait.
type Handler func(*Stream) Receiver

// Receiver takes what a client says on a stream. Its methods must not wait.
type Receiver interface {
	// Receive takes a message, which is the callee's only during the call.
	// An error ends the stream with its gRPC status. It is called by the
	// connection's reader.
	Receive(message []byte) error
	// Ended tells that the stream has ended, whoever ended it. It is called
	// exactly once for each Receiver, after the last Receive has returned or,
	// where [Stream.End] is called meanwhile, beside it: by whoever ended the
	// stream, who holds nothing of this package's.
	Ended()
}

// Wait is for a client that is waited for.
type Wait interface {
	Grow(bytes int) // more is held
	Done() bool     // nothing is waited for any more
}

// Options are a Server's givens; only Methods are needed.
type Options struct {
	Methods map[string]Handler // by the path of requests
	// Other gets connections whose first request is for no such path; nil:
	// they are served, and told that there is none.
	Other func(*Handed)
	// Wait is told when the client is waited for to say something whole: its
	// first message on a stream, or the rest of one. It may call end, beside
	// anything else; nil: nobody is told.
	Wait func(peer net.Addr, end func(error)) Wait
	// Credentials make the connection secure; nil: plaintext.
	Credentials credentials.TransportCredentials
	Log         *slog.Logger     // nil: none
	Now         func() time.Time // nil: time.Now
}

// What a connection may cost, and for how long.
const (
	maxStreams    = 16      // at once
	maxMessage    = 4 << 20 // bytes of a message, and of unfinished ones of a connection
	maxHeaderList = 16 << 10
	maxOpening    = 32 << 10 // bytes up to and with the first request's headers
	maxFrameSize  = 16 << 10

	openingTime = 20 * time.Second // until the first request is there
	pingAfter   = 30 * time.Second // without anything from the peer
	pingTime    = 20 * time.Second // until anything comes
	idleTime    = 5 * time.Minute  // without streams
	sweepEvery  = time.Second
)

// Server serves connections.
type Server struct {
	Options
	readers, batches sync.Pool

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]struct{}
	draining  bool
	stopped   bool
	running   sync.WaitGroup // conns, and what they started
}

// New makes a Server.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{Options: o, conns: map[*conn]struct{}{}, listeners: map[net.Listener]struct{}{}}
	s.readers.New = func() any { return newReader() }
	s.batches.New = func() any { return &batch{} }
	return s
}

// Serve takes in connections until the server is stopped, or l is at an end.
// After [Server.GracefulStop] or [Server.Stop] it returns nil once all
// connections have ended.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var sweeper sync.WaitGroup
	sweeper.Go(func() { s.sweepUntil(ctx) })
	err := s.accept(l)
	s.mu.Lock()
	delete(s.listeners, l)
	if s.draining {
		err = nil
	}
	s.mu.Unlock()
	if err == nil {
		s.running.Wait()
	}
	cancel()
	sweeper.Wait()
	return err
}

func (s *Server) accept(l net.Listener) error {
	pause := 5 * time.Millisecond
	for {
		nc, err := l.Accept()
		if temporary := interface{ Temporary() bool }(nil); errors.As(err, &temporary) && temporary.Temporary() {
			s.Log.Warn("accept a connection", "error", err, "again in", pause)
			time.Sleep(pause) // as for files, there are too many
			pause = min(2*pause, time.Second)
			continue
		}
		if err != nil {
			return err
		}
		pause = 5 * time.Millisecond
		if c := newConn(s, nc); s.add(c) {
			go c.open()
		} else {
			nc.Close()
		}
	}
}

// add takes in a connection, which calls remove in the end.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.running.Done()
}

// all are the connections, once listeners take in no more if that is the end.
func (s *Server) all(draining, stopped bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining, s.stopped = s.draining || draining, s.stopped || stopped
	if s.draining {
		for l := range s.listeners {
			l.Close() // Serve says how that went
		}
	}
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// GracefulStop takes in nothing more, tells clients to go elsewhere (GOAWAY) and
// returns when their streams have ended.
func (s *Server) GracefulStop() {
	for _, c := range s.all(true, false) {
		c.drain()
	}
	s.running.Wait()
}

// Stop closes all connections, and returns when they have ended.
func (s *Server) Stop() {
	for _, c := range s.all(true, true) {
		c.close()
	}
	s.running.Wait()
}

func (s *Server) sweepUntil(ctx context.Context) {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.sweep(s.Now())
		}
	}
}

// sweep looks for connections that are slow to begin, gone, or idle.
func (s *Server) sweep(now time.Time) {
	for _, c := range s.all(false, false) {
		if why := c.overdue(now); why != "" {
			s.Log.Debug("connection closed", "peer", c.peer.Addr, "reason", why)
			c.close()
		}
	}
}
