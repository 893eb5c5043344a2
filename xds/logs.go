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

// logIdle is how long a worker's connection is kept on which nothing comes. After a
// filter that crashed everywhere there is one for each worker of each Envoy.
const logIdle = time.Minute

// logs are the streams of access logs. Each of an Envoy's worker threads has a
// connection for them, beside that of ADS, once it has something to tell.
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

// LogStream takes what comes on a stream of access logs.
type LogStream interface {
	// Receive takes a message, which is the callee's only during the call. Its
	// error ends the stream, with its gRPC status.
	Receive(message []byte) error
	Ended() // told once
}

// logStream is a stream with the time of its newest message.
type logStream struct {
	LogStream
	server *Server
	conn   *transport.Conn
	at     atomic.Int64 // nanoseconds
}

func (s *Server) logHandler(st transport.Stream, first []byte) (transport.Receiver, error) {
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
	return l, nil
}

func (l *logStream) Receive(message []byte) error {
	l.at.Store(l.server.now().UnixNano())
	return l.LogStream.Receive(message)
}

func (l *logStream) Ended() {
	l.server.logs.leave(l)
	l.LogStream.Ended()
}

// enter makes room for a stream. Where there is none, its connection is cut as
// well, but not at once: the worker comes again with the next entry, and what that
// costs most of is a connection.
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

// overdue are the connections that were refused, or that were quiet for too long.
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
		for l := range ls.streams { // an Envoy's worker may have several on one
			if l.at.Load() > oldest {
				delete(out, l.conn)
			}
		}
	}
	return out
}

// cutQuiet ends connections that are for access logs alone and tell nothing.
func (s *Server) cutQuiet(now time.Time) {
	overdue := s.logs.overdue(now)
	if len(overdue) == 0 {
		return
	}
	for _, c := range s.all() {
		delete(overdue, c.conn) // a proxy may have put both on one
	}
	for c := range overdue {
		c.Cut()
	}
}

// end closes all streams, and lets no other begin.
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
