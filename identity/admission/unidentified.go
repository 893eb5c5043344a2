package admission

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// firstRequest bounds how long a stream may take to send its first request.
const firstRequest = 10 * time.Second

// Intercept bounds streams without a first request, in number and time.
func (a *Admission) Intercept(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	if a.unidentified.Add(1) > int64(a.limit) {
		a.unidentified.Add(-1)
		return errUnidentified
	}
	s := &unidentified{ServerStream: st, left: sync.OnceFunc(func() { a.unidentified.Add(-1) }), wait: a.wait}
	defer s.left()
	return serve(srv, s)
}

// Meet does the same for a stream of another kind of server. It calls end if
// the stream sends nothing for too long. The caller must call met when the
// stream has sent something or has ended.
func (a *Admission) Meet(end func(error)) (met func(), err error) {
	if a.unidentified.Add(1) > int64(a.limit) {
		a.unidentified.Add(-1)
		return nil, errUnidentified
	}
	left := sync.OnceFunc(func() { a.unidentified.Add(-1) })
	late := time.AfterFunc(a.wait, func() {
		left()
		end(errLate(a.wait))
	})
	return func() { late.Stop(); left() }, nil
}

var errUnidentified = status.Error(codes.ResourceExhausted, "too many streams have not said which node they are")

func errLate(wait time.Duration) error {
	return status.Errorf(codes.DeadlineExceeded, "no request within %v", wait)
}

// unidentified is a stream that counts as unidentified until its first message.
type unidentified struct {
	grpc.ServerStream
	left func() // called when the stream is identified or ends
	wait time.Duration
	seen bool
}

func (s *unidentified) RecvMsg(m any) error {
	if s.seen {
		return s.ServerStream.RecvMsg(m)
	}
	s.seen = true
	got := make(chan error, 1)
	go func() { got <- s.ServerStream.RecvMsg(m) }() // ends with the stream
	late := time.NewTimer(s.wait)
	defer late.Stop()
	select {
	case err := <-got:
		s.left()
		return err
	case <-late.C:
		return errLate(s.wait)
	}
}
