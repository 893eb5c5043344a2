package xds

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"wasmxds/xds/h2"
)

// H2 serves a Server's streams by package h2, at a small part of what a
// grpc.Server's connections cost. Connections that are for something else, as
// health or client status, go to a grpc.Server of its own.
type H2 struct {
	streams   *h2.Server
	rest      *h2.Rest
	grpc      *grpc.Server
	beginning sync.WaitGroup // streams in their first exchange
}

// H2Options are an H2's givens. The zero value is usable.
type H2Options struct {
	Credentials credentials.TransportCredentials // nil: plaintext
	// Meet is told of each stream before it says which node it is, and may
	// call end until met is called; nil: nobody is told.
	Meet func(end func(error)) (met func(), err error)
	Log  *slog.Logger // nil: none
}

// NewH2 makes an H2, to serve on a Listener. The options are those of the
// grpc.Server, without credentials.
func (s *Server) NewH2(o H2Options, opts ...grpc.ServerOption) *H2 {
	h := &H2{rest: h2.NewRest(&net.TCPAddr{})}
	if o.Meet == nil {
		o.Meet = func(func(error)) (func(), error) { return func() {}, nil }
	}
	h.grpc = NewGRPC(h2.Credentials{}, opts...)
	s.Register(h.grpc)
	handler := func(delta bool) h2.Handler {
		return func(st *h2.Stream) h2.Receiver {
			r := &receiver{server: s, stream: st, delta: delta, beginning: &h.beginning}
			r.meet(o.Meet)
			return r
		}
	}
	h.streams = h2.New(h2.Options{
		Methods: map[string]h2.Handler{
			"/" + adsService + "/StreamAggregatedResources": handler(false),
			"/" + adsService + "/DeltaAggregatedResources":  handler(true),
		},
		Other: h.rest.Take, Credentials: o.Credentials, Log: o.Log,
		Wait: func(a net.Addr, end func(error)) h2.Wait {
			return s.messages.Begin(addrPort(a).Addr(), streamCost, wholeMessage, end)
		},
	})
	return h
}

// Serve serves on l until GracefulStop or Stop, and then returns nil.
func (h *H2) Serve(l net.Listener) error {
	var g errgroup.Group
	g.Go(func() error {
		err := h.streams.Serve(rawListener{l})
		if err != nil {
			h.grpc.Stop()
		}
		return err
	})
	g.Go(func() error {
		if err := h.grpc.Serve(h.rest); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			return err
		}
		return nil
	})
	return g.Wait()
}

// GracefulStop lets nobody in any more, tells clients to go elsewhere and
// returns when they have.
func (h *H2) GracefulStop() { h.both(h.streams.GracefulStop, h.grpc.GracefulStop) }

// Stop closes all connections.
func (h *H2) Stop() { h.both(h.streams.Stop, h.grpc.Stop) }

func (h *H2) both(stops ...func()) {
	var wg sync.WaitGroup
	for _, stop := range stops {
		wg.Go(stop)
	}
	wg.Wait()
	h.beginning.Wait()
}

// rawListener gives connections that package h2 can read and write by hand.
type rawListener struct{ net.Listener }

func (l rawListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if ours, ok := c.(*conn); ok && err == nil {
		return rawConn{ours}, nil
	}
	return c, err
}

type rawConn struct{ *conn }

func (c rawConn) SyscallConn() (syscall.RawConn, error) {
	system, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a connection by %T is not the system's", c.Conn)
	}
	raw, err := system.SyscallConn()
	return rawReader{raw, c.conn}, err
}

// rawReader reads past Read, which would give the connection's turn back.
type rawReader struct {
	syscall.RawConn
	conn *conn
}

func (r rawReader) Read(f func(fd uintptr) bool) error {
	r.conn.yield()
	return r.RawConn.Read(f)
}

// maxEarly bounds what is kept of a stream that has not begun, in bytes, but for
// its first message.
const maxEarly = 256 << 10

// receiver is a stream of package h2. Until it has begun, which may take long,
// its requests are kept; then its connection's reader takes them.
type receiver struct {
	server    *Server
	stream    *h2.Stream
	delta     bool
	beginning *sync.WaitGroup

	mu     sync.Mutex
	met    func()   // nil: it has said something
	client *client  // nil: none yet, or no more
	early  [][]byte // requests, oldest first
	size   int      // of early
	begun  bool     // a goroutine begins it, or has
	direct bool     // that has done so: requests are the reader's
	over   bool     // the stream has ended
}

func (r *receiver) meet(meet func(end func(error)) (func(), error)) {
	c := connOf(r.stream.Context())
	if c == nil {
		r.stream.End(errNoListener)
		return
	}
	c.passed()
	met, err := meet(r.stream.End)
	if err != nil {
		r.stream.End(err)
		return
	}
	r.met = met
}

// said tells that the stream is no stranger any more. The caller holds r.mu.
func (r *receiver) said() {
	if r.met != nil {
		r.met()
		r.met = nil
	}
}

// Receive is for package h2.
func (r *receiver) Receive(message []byte) error {
	r.mu.Lock()
	if c := r.client; r.direct && c != nil {
		r.mu.Unlock()
		return r.request(c, message)
	}
	defer r.mu.Unlock()
	if r.over {
		return h2.ErrEnded
	}
	r.said()
	if r.begun && r.size+len(message) > maxEarly {
		return status.Errorf(codes.ResourceExhausted, "more than %d bytes of requests before the first was answered", maxEarly)
	}
	r.early = append(r.early, slices.Clone(message))
	if r.begun {
		r.size += len(message)
		return nil
	}
	r.begun = true
	connOf(r.stream.Context()).proven()
	r.beginning.Go(func() {
		if err := r.begin(); err != nil {
			r.stream.End(err)
		}
	})
	return nil
}

// begin makes the client, and answers what was said until then. What that takes
// of stack, and of time, is not the reader's.
func (r *receiver) begin() error {
	if err := r.first(); err != nil {
		return err
	}
	for {
		message, ok := r.next()
		if !ok {
			return nil
		}
		if err := r.request(r.client, message); err != nil {
			return err
		}
	}
}

// first makes the client, and answers its first request.
func (r *receiver) first() error {
	ctx := r.stream.Context()
	message, ok := r.next()
	if !ok {
		return h2.ErrEnded
	}
	req, err := r.server.first(ctx, message, r.delta)
	if err != nil {
		return err
	}
	if err := r.server.awaitFirst(ctx); err != nil {
		return err
	}
	c, err := r.server.begin(ctx, h2Stream{r.stream}, req)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over { // Ended found no client
		r.server.disconnect(c)
		return h2.ErrEnded
	}
	r.client = c
	return nil
}

// next gives the oldest of the requests that wait; where there is none, the
// stream is the reader's.
func (r *receiver) next() (message []byte, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.over:
		return nil, false
	case len(r.early) == 0:
		r.direct, r.early = true, nil
		return nil, false
	}
	message = r.early[0]
	r.early[0], r.early = nil, r.early[1:]
	return message, true
}

func (r *receiver) request(c *client, message []byte) error {
	req := &request{delta: r.delta, of: c}
	if err := req.decode(message); err != nil {
		return status.Errorf(codes.InvalidArgument, "decode a request: %v", err)
	}
	return r.server.request(c, req)
}

// Ended is for package h2.
func (r *receiver) Ended() {
	r.mu.Lock()
	r.said()
	c := r.client
	r.over, r.early = true, nil
	r.mu.Unlock()
	if c != nil {
		r.server.disconnect(c)
	}
}

type h2Stream struct{ *h2.Stream }

func (s h2Stream) send(body []byte, nonce string) error { return s.Send(body, nonceField(nonce)) }
