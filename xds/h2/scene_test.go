package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/xds/h2"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within limits every wait. It is reached only if a test fails.
const within = time.Minute

const echoPath = "/test.Echo/Echo"

// echo sends each message back, except for these commands:
//
//	fail TEXT   ends the stream with an error
//	many N      sends N messages
type echo struct {
	stream *h2.Stream
	ended  chan<- *h2.Stream
}

func (e *echo) Receive(message []byte) error {
	var m wrapperspb.BytesValue
	if err := proto.Unmarshal(message, &m); err != nil {
		return status.Errorf(codes.InvalidArgument, "decode: %v", err)
	}
	word, rest, _ := strings.Cut(string(m.Value[:min(len(m.Value), 100)]), " ")
	switch word {
	case "fail":
		return status.Error(codes.FailedPrecondition, rest)
	case "many":
		body := encode(bytes.Repeat([]byte("many"), 1000))
		for range len(rest) {
			if err := e.stream.Send(body); err != nil {
				return err
			}
		}
		return nil
	}
	half := len(message) / 2
	copied := bytes.Clone(message) // the server reuses message after this
	return e.stream.Send(copied[:half], nil, copied[half:])
}

func (e *echo) Ended() { e.ended <- e.stream }

func encode(b []byte) []byte {
	out, err := proto.Marshal(wrapperspb.Bytes(b))
	if err != nil {
		panic(err) // bytes can be encoded
	}
	return out
}

// scene is a server.
type scene struct {
	*h2.Server
	t       testing.TB
	address string
	begun   chan *h2.Stream
	ended   chan *h2.Stream
	served  chan error
}

func start(t testing.TB, o h2.Options) *scene {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{t: t, address: l.Addr().String(), begun: make(chan *h2.Stream, 1000), ended: make(chan *h2.Stream, 1000), served: make(chan error, 1)}
	o.Methods = map[string]h2.Handler{echoPath: func(st *h2.Stream) h2.Receiver {
		s.begun <- st
		return &echo{st, s.ended}
	}}
	s.Server = h2.New(o)
	go func() { s.served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := wait(t, s.served); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wait[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(within):
		t.Fatal("nothing comes")
		panic("not reached")
	}
}

// dial returns a grpc client.
func (s *scene) dial(creds credentials.TransportCredentials, o ...grpc.DialOption) *grpc.ClientConn {
	s.t.Helper()
	if creds == nil {
		creds = insecure.NewCredentials()
	}
	c, err := grpc.NewClient("passthrough:///"+s.address, append(o, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	return c
}

// talk is a stream of a grpc client.
type talk struct {
	grpc.ClientStream
	t testing.TB
}

func open(t testing.TB, c *grpc.ClientConn, o ...grpc.CallOption) (*talk, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	t.Cleanup(cancel)
	st, err := c.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, echoPath, o...)
	if err != nil {
		t.Fatal(err)
	}
	return &talk{st, t}, cancel
}

func (k *talk) say(b []byte) {
	k.t.Helper()
	if err := k.SendMsg(wrapperspb.Bytes(b)); err != nil && !errors.Is(err, io.EOF) {
		k.t.Fatal(err)
	}
}

func (k *talk) hear() ([]byte, error) {
	var m wrapperspb.BytesValue
	err := k.RecvMsg(&m)
	return m.Value, err
}

func (k *talk) hears(want []byte) {
	k.t.Helper()
	got, err := k.hear()
	if err != nil || !bytes.Equal(got, want) {
		k.t.Fatalf("heard %d bytes, %v; want %d", len(got), err, len(want))
	}
}

func (k *talk) ends(code codes.Code, text string) {
	k.t.Helper()
	_, err := k.hear()
	if code == codes.OK && errors.Is(err, io.EOF) {
		return
	}
	if status.Code(err) != code || !strings.Contains(status.Convert(err).Message(), text) {
		k.t.Errorf("ended with %v, want %v: %s", err, code, text)
	}
}

// clock is a clock that tests advance.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
