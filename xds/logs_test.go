package xds_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"

	"wasmxds/xds"
)

// taken is what arrived on access log streams.
type taken struct {
	mu    sync.Mutex
	said  []string // names of logs, in the order of messages
	ended int
}

// begin rejects a stream named "forbidden".
func (l *taken) begin(_ context.Context, first []byte) (xds.LogStream, error) {
	if err := l.Receive(first); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *taken) Receive(message []byte) error {
	var m accesslogv3.StreamAccessLogsMessage
	if err := proto.Unmarshal(message, &m); err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	name := m.GetIdentifier().GetLogName()
	if name == "forbidden" {
		return status.Error(codes.PermissionDenied, "not this one")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, name)
	return nil
}

func (l *taken) Ended() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended++
}

func (l *taken) count() (said, ended int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.said), l.ended
}

// worker is an Envoy's worker thread that sends access logs.
type worker struct {
	t  *testing.T
	st accesslogv3.AccessLogService_StreamAccessLogsClient
}

func (s *scene) worker(t *testing.T, conn *grpc.ClientConn) worker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	st, err := accesslogv3.NewAccessLogServiceClient(conn).StreamAccessLogs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return worker{t, st}
}

// says sends a message. ends notices the end of the stream.
func (w worker) says(log string) {
	_ = w.st.Send(&accesslogv3.StreamAccessLogsMessage{Identifier: &accesslogv3.StreamAccessLogsMessage_Identifier{
		Node: &corev3.Node{Id: "a"}, LogName: log,
	}})
}

// ends waits until the server has ended the stream.
func (w worker) ends(want codes.Code) {
	w.t.Helper()
	if err := w.st.RecvMsg(new(accesslogv3.StreamAccessLogsResponse)); status.Code(err) != want {
		w.t.Errorf("the stream ends with %v, want %v", err, want)
	}
}

func TestAccessLogs(t *testing.T) {
	transports(t, func(t *testing.T) {
		var logs taken
		s := start(t, xds.Options{Logs: logs.begin})
		w := s.worker(t, s.dial(t, ""))
		w.says("first")
		w.says("")
		eventually(t, "both taken, in their order", func() bool {
			logs.mu.Lock()
			defer logs.mu.Unlock()
			return slices.Equal(logs.said, []string{"first", ""})
		})
		w.says("forbidden")
		w.ends(codes.PermissionDenied)
		other := s.worker(t, s.dial(t, ""))
		other.says("forbidden")
		other.ends(codes.PermissionDenied)
		eventually(t, "one told to have ended, and not the one that never began", func() bool {
			_, ended := logs.count()
			return ended == 1
		})
		last := s.worker(t, s.dial(t, ""))
		last.says("third")
		eventually(t, "it is open", func() bool { said, _ := logs.count(); return said == 3 })
		s.end()
		last.ends(codes.Unavailable)
	})
}

// TestAccessLogsAreOff checks that the service is missing unless it is configured.
func TestAccessLogsAreOff(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{})
		w := s.worker(t, s.dial(t, ""))
		w.says("first")
		w.ends(codes.Unimplemented)
	})
}

// TestQuietLogsAreCut checks that a connection with access logs alone is closed when
// nothing arrives on it any more, and that one with another stream isn't.
func TestQuietLogsAreCut(t *testing.T) {
	transports(t, func(t *testing.T) {
		var logs taken
		c := newClock()
		s := start(t, xds.Options{Logs: logs.begin, Now: c.Now})
		s.publish(t, hello1)
		shared := s.dial(t, "")
		e := newEnvoy(t, "a", true)
		e.connect(shared)
		e.next()
		beside, quiet, lively := s.worker(t, shared), s.worker(t, s.dial(t, "")), s.worker(t, s.dial(t, ""))
		for _, w := range []worker{beside, quiet, lively} {
			w.says("x")
		}
		eventually(t, "all are open", func() bool { said, _ := logs.count(); return said == 3 })
		c.advance(40 * time.Second)
		lively.says("x")
		eventually(t, "it has said more", func() bool { said, _ := logs.count(); return said == 4 })
		c.advance(30 * time.Second)
		quiet.ends(codes.Unavailable)
		lively.says("x")
		beside.says("x")
		eventually(t, "the others are open", func() bool { said, _ := logs.count(); return said == 6 })
	})
}

// TestLogsAreBounded checks that the number of access log streams is limited, and that the
// connection of a rejected one is closed.
func TestLogsAreBounded(t *testing.T) {
	transports(t, func(t *testing.T) {
		var logs taken
		s := start(t, xds.Options{Logs: logs.begin, MaxLogs: 1})
		w := s.worker(t, s.dial(t, ""))
		w.says("x")
		eventually(t, "it is open", func() bool { said, _ := logs.count(); return said == 1 })

		connections := make(chan net.Conn, 10)
		more := s.dial(t, "", grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil {
				c = &closing{Conn: c, closed: make(chan struct{})}
				connections <- c
			}
			return c, err
		}))
		refused := s.worker(t, more)
		refused.says("x")
		refused.ends(codes.ResourceExhausted)
		select {
		case <-(<-connections).(*closing).closed:
		case <-time.After(within):
			t.Error("the connection of the refused stream stays")
		}
		w.says("x")
		eventually(t, "the first goes on", func() bool { said, _ := logs.count(); return said == 2 })
	})
}

// closing is a connection that notifies when a read from it has failed.
type closing struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closing) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, context.Canceled) {
		c.once.Do(func() { close(c.closed) })
	}
	return n, err
}
