package admission

import (
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// firstRequest is how long a stream may take to say who it is.
const firstRequest = 10 * time.Second

// Intercept bounds streams that have not said who they are: in number, and in
// time.
func (a *Admission) Intercept(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	if a.unidentified.Add(1) > int64(a.limit) {
		a.unidentified.Add(-1)
		return errUnidentified
	}
	s := &unidentified{ServerStream: st, left: sync.OnceFunc(func() { a.unidentified.Add(-1) }), wait: a.wait}
	defer s.left()
	return serve(srv, s)
}

// Meet does the same for a stream that is served by other means: end is called,
// if it says nothing for too long, and what it gives once it has said something
// or has ended.
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

// unidentified is a stream that has not said who it is until a first message has
// come.
type unidentified struct {
	grpc.ServerStream
	left func() // its last moment as one
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
