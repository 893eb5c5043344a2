package transport

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

// H2 serves the streams of Services with package h2, at a fraction of the cost of a
// grpc.Server's connections. Connections for anything else, such as health or client
// status, go to a grpc.Server of its own.
type H2 struct {
	streams   *h2.Server
	rest      *h2.Rest
	grpc      *grpc.Server
	beginning sync.WaitGroup // streams in their first exchange
}

// H2Options configure an H2. The zero value is usable.
type H2Options struct {
	Credentials credentials.TransportCredentials // nil: plaintext
	// Meet is called for each stream before it names its node. It may call end until met is
	// called; nil: it is not called.
	Meet func(end func(error)) (met func(), err error)
	Log  *slog.Logger // nil: no logging
}

// NewH2 returns an H2 that serves s. The options are for its grpc.Server, without
// credentials.
func NewH2(s *Services, o H2Options, opts ...grpc.ServerOption) *H2 {
	h := &H2{rest: h2.NewRest(&net.TCPAddr{})}
	if o.Meet == nil {
		o.Meet = func(func(error)) (func(), error) { return func() {}, nil }
	}
	h.grpc = NewGRPC(h2.Credentials{}, opts...)
	s.Register(h.grpc)
	methods := make(map[string]h2.Handler, len(s.Streams))
	for method, handle := range s.Streams {
		methods["/"+method] = func(st *h2.Stream) h2.Receiver {
			r := &receiver{handle: handle, stream: st, beginning: &h.beginning}
			r.meet(o.Meet)
			return r
		}
	}
	h.streams = h2.New(h2.Options{
		Methods: methods, Other: h.rest.Take, Credentials: o.Credentials, Log: o.Log,
		Wait: func(a net.Addr, end func(error)) h2.Wait {
			c := connAt(a)
			return c.listener.messages.Begin(c.addr, streamCost, wholeMessage, end)
		},
	})
	return h
}

// Serve serves on l, which must be a [Listener], until GracefulStop or Stop, and then
// returns nil.
func (h *H2) Serve(l net.Listener) error {
	if _, ok := l.(*Listener); !ok {
		return fmt.Errorf("serve on %v: %T is no transport.Listener", l.Addr(), l)
	}
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

// GracefulStop accepts nothing more, makes clients connect elsewhere and returns when they
// have.
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

// rawListener returns connections that package h2 can read and write with system calls.
type rawListener struct{ net.Listener }

func (l rawListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if ours, ok := c.(*Conn); ok && err == nil {
		return rawConn{ours}, nil
	}
	return c, err
}

type rawConn struct{ *Conn }

func (c rawConn) SyscallConn() (syscall.RawConn, error) {
	system, ok := c.Conn.Conn.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("a connection by %T is not the system's", c.Conn.Conn)
	}
	raw, err := system.SyscallConn()
	return rawReader{raw, c.Conn}, err
}

// rawReader reads without Conn.Read, which would release the connection's turn.
type rawReader struct {
	syscall.RawConn
	conn *Conn
}

func (r rawReader) Read(f func(fd uintptr) bool) error {
	r.conn.yield()
	return r.RawConn.Read(f)
}

// maxEarly is the limit of what is kept for a stream that has not begun, in bytes, without
// its first message.
const maxEarly = 256 << 10

// receiver is a stream of package h2. Until the stream has begun, which may take long, its
// requests are queued; after that, the connection's reader passes them on.
type receiver struct {
	handle    Handler
	stream    *h2.Stream
	beginning *sync.WaitGroup

	mu     sync.Mutex
	met    func()   // nil: the first message has arrived
	taker  Receiver // nil: none yet
	early  [][]byte // requests, oldest first
	size   int      // of early
	begun  bool     // the first message has arrived
	direct bool     // the stream has begun: the reader passes requests on
	over   bool     // the stream has ended
}

func (r *receiver) meet(meet func(end func(error)) (func(), error)) {
	c := ConnOf(r.stream.Context())
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

// said records that the first message has arrived. The caller holds r.mu.
func (r *receiver) said() {
	if r.met != nil {
		r.met()
		r.met = nil
	}
}

// Receive implements h2.Receiver.
func (r *receiver) Receive(message []byte) error {
	r.mu.Lock()
	if r.direct {
		r.mu.Unlock()
		return r.taker.Receive(message)
	}
	defer r.mu.Unlock()
	if r.over {
		return h2.ErrEnded
	}
	r.said()
	if !r.begun {
		return r.first(message)
	}
	if r.size+len(message) > maxEarly {
		return status.Errorf(codes.ResourceExhausted, "more than %d bytes of requests before the first was answered", maxEarly)
	}
	r.early = append(r.early, slices.Clone(message))
	r.size += len(message)
	return nil
}

// first passes on the first message. The caller holds r.mu.
func (r *receiver) first(message []byte) error {
	r.begun = true
	ConnOf(r.stream.Context()).proven()
	begin, err := r.handle(r.stream, message)
	if err != nil {
		return err
	}
	r.beginning.Go(func() {
		if err := r.begin(begin); err != nil {
			r.stream.End(err)
		}
	})
	return nil
}

// begin begins the stream, and passes on what is queued. It needs stack and time that the
// reader should not spend.
func (r *receiver) begin(begin Begin) error {
	taker, err := begin()
	if err != nil {
		return err
	}
	if err := r.takes(taker); err != nil {
		return err
	}
	for {
		message, ok := r.next()
		if !ok {
			return nil
		}
		if err := r.taker.Receive(message); err != nil {
			return err
		}
	}
}

// takes sets what takes the requests of the stream.
func (r *receiver) takes(taker Receiver) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over { // Ended has found no taker
		taker.Ended()
		return h2.ErrEnded
	}
	r.taker = taker
	return nil
}

// next returns the oldest queued request. If there is none, the reader passes on later ones
// directly.
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

// Ended implements h2.Receiver.
func (r *receiver) Ended() {
	r.mu.Lock()
	r.said()
	taker := r.taker
	r.over, r.early = true, nil
	r.mu.Unlock()
	if taker != nil {
		taker.Ended()
	}
}
