package xds

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/xds/transport"
)

// logIdle is how long a silent connection for access logs is kept. After a filter has
// crashed everywhere, there is one for each worker of each Envoy.
const logIdle = time.Minute

// logs contains the streams of access logs. Each worker thread of an Envoy opens a
// connection for them, apart from that of ADS, once it has something to send.
type logs struct {
	begin func(ctx context.Context, first []byte) (LogStream, error)
	max   int

	mu      sync.Mutex
	streams map[*logStream]struct{}
	refused map[*transport.Conn]struct{} // to be cut
	closed  bool
}

func newLogs(o Options) logs {
	return logs{begin: o.Logs, max: o.MaxLogs, streams: map[*logStream]struct{}{}, refused: map[*transport.Conn]struct{}{}}
}

// LogStream processes a stream of access logs.
type LogStream interface {
	// Receive processes a message. It must not keep the slice. Its error ends the stream,
	// with its gRPC status.
	Receive(message []byte) error
	Ended() // called once
}

// logStream is a LogStream with the time of its last message.
type logStream struct {
	LogStream
	server *Server
	conn   *transport.Conn
	at     atomic.Int64 // nanoseconds
}

func (s *Server) logHandler(st transport.Stream, first []byte) (transport.Begin, error) {
	l := &logStream{server: s, conn: transport.ConnOf(st.Context())}
	l.at.Store(s.now().UnixNano())
	if err := s.logs.enter(l); err != nil {
		return nil, err
	}
	taker, err := s.logs.begin(st.Context(), first)
	if err != nil {
		s.logs.leave(l)
		s.log.Warn("refused a stream of access logs", "peer", transport.AddrOf(st.Context()), "reason", status.Convert(err).Message())
		return nil, err
	}
	l.LogStream = taker
	return func() (transport.Receiver, error) { return l, nil }, nil
}

func (l *logStream) Receive(message []byte) error {
	l.at.Store(l.server.now().UnixNano())
	return l.LogStream.Receive(message)
}

func (l *logStream) Ended() {
	l.server.logs.leave(l)
	l.LogStream.Ended()
}

// enter registers a stream. If there are too many, its connection is cut as well, but not
// at once: the worker reconnects with the next entry, and connections are what costs most.
func (ls *logs) enter(l *logStream) error {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	switch {
	case ls.closed:
		return errEnding
	case ls.max > 0 && len(ls.streams) >= ls.max:
		ls.refused[l.conn] = struct{}{}
		return status.Errorf(codes.ResourceExhausted, "there are %d streams of access logs, and no more are taken", ls.max)
	}
	ls.streams[l] = struct{}{}
	return nil
}

func (ls *logs) leave(l *logStream) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	delete(ls.streams, l)
}

// overdue returns the connections whose streams were rejected, or that were silent for too
// long.
func (ls *logs) overdue(now time.Time) map[*transport.Conn]struct{} {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	out := ls.refused
	ls.refused = map[*transport.Conn]struct{}{}
	oldest := now.Add(-logIdle).UnixNano()
	for l := range ls.streams {
		if l.at.Load() <= oldest {
			out[l.conn] = struct{}{}
		}
	}
	if len(out) > 0 {
		for l := range ls.streams { // a worker may have several streams on one connection
			if l.at.Load() > oldest {
				delete(out, l.conn)
			}
		}
	}
	return out
}

// cutQuiet cuts connections that serve only access logs and are overdue.
func (s *Server) cutQuiet(now time.Time) {
	overdue := s.logs.overdue(now)
	if len(overdue) == 0 {
		return
	}
	for _, c := range s.all() {
		delete(overdue, c.conn) // a proxy may have put both kinds of stream on one connection
	}
	for c := range overdue {
		c.Cut()
	}
}

// end closes all streams, and rejects new ones.
func (ls *logs) end() {
	ls.mu.Lock()
	ls.closed = true
	var conns []*transport.Conn
	for l := range ls.streams {
		conns = append(conns, l.conn)
	}
	ls.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // it was open, or is closed already
	}
}
