package transport

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	grpcpeer "google.golang.org/grpc/peer"
)

// oneMessage is a stream with one message.
type oneMessage struct {
	grpc.ServerStream
	ctx     context.Context
	message mem.Buffer
}

func (s *oneMessage) Context() context.Context { return s.ctx }

func (s *oneMessage) RecvMsg(m any) error {
	m.(*held).Buffer = s.message
	return nil
}

// freed is a pool that only records that a buffer was returned.
type freed bool

func (f *freed) Get(size int) *[]byte { b := make([]byte, size); return &b }
func (f *freed) Put(*[]byte)          { *f = true }

// TestFirstMessageIsFreed checks that a stream that waits for its turn holds no message.
func TestFirstMessageIsFreed(t *testing.T) {
	var pool freed
	content := make([]byte, 32<<10) // less is not returned to pools
	ctx := grpcpeer.NewContext(t.Context(), &grpcpeer.Peer{Addr: remote{conn: &Conn{}}})
	st := &oneMessage{ctx: ctx, message: mem.NewBuffer(&content, &pool)}
	begun := errors.New("begun")
	err := overGRPC(grpcStream{st}, func(_ Stream, first []byte) (Begin, error) {
		if len(first) != len(content) || pool {
			t.Errorf("the message has %d bytes, want %d; freed: %v", len(first), len(content), pool)
		}
		return func() (Receiver, error) {
			if !pool {
				t.Error("the message is not freed")
			}
			return nil, begun
		}, nil
	})
	if !errors.Is(err, begun) {
		t.Errorf("got %v", err)
	}
}
