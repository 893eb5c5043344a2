package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/identity"
)

// admission decides which streams there may be: whether a client may be the
// node that it says it is, and how many there are of it.
type admission struct {
	file           string // of the policy; "": there is none
	limit, perWhom int
	wait           time.Duration // for the first request of a stream
	log            *slog.Logger
	strangers      atomic.Int64 // streams that have not said who they are

	mu     sync.Mutex
	raw    []byte // of the policy as it was last read, good or not
	policy *identity.Policy
	wrong  []definition.Problem // with the file as it is now
	open   map[*admitted]struct{}
	ofWhom map[string]int // open streams
}

// admitted is a stream that is open.
type admitted struct {
	node definition.Node
	who  []string     // identities in the client's certificate
	end  func() error // of the connection; nil: without TLS
}

func newAdmission(policy string, limit, perWhom int, log *slog.Logger) (*admission, error) {
	a := &admission{file: policy, limit: limit, perWhom: perWhom, wait: firstRequest, log: log,
		open: map[*admitted]struct{}{}, ofWhom: map[string]int{}}
	if a.reload(); a.file != "" && a.policy == nil {
		var all []error
		for _, p := range a.wrong {
			all = append(all, p)
		}
		return nil, errors.Join(all...)
	}
	return a, nil
}

// allow is nil when the stream of ctx may be node; it counts as open until ctx
// ends.
func (a *admission) allow(ctx context.Context, node definition.Node) error {
	s := &admitted{node: node}
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(*connection); ok {
			s.end = info.end
			if chains := info.State.VerifiedChains; len(chains) > 0 {
				s.who = identity.Of(chains[0][0])
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.policy != nil {
		if err := a.policy.Allow(s.who, node); err != nil {
			return err
		}
	}
	switch whom := s.name(); {
	case len(a.open) >= a.limit:
		return status.Errorf(codes.ResourceExhausted, "there are %d streams, and no more are allowed (--max-streams)", a.limit)
	case whom != "" && a.ofWhom[whom] >= a.perWhom:
		return status.Errorf(codes.ResourceExhausted, "%s has %d streams, and no more are allowed (--max-streams-per-identity)", whom, a.perWhom)
	default:
		a.open[s] = struct{}{}
		a.ofWhom[whom]++
	}
	context.AfterFunc(ctx, func() { a.ended(s) })
	return nil
}

// firstRequest is how long a stream may take to say who it is.
const firstRequest = 10 * time.Second

// intercept bounds streams that have not said who they are: in number, and in
// time.
func (a *admission) intercept(srv any, st grpc.ServerStream, _ *grpc.StreamServerInfo, serve grpc.StreamHandler) error {
	if a.strangers.Add(1) > int64(a.limit) {
		a.strangers.Add(-1)
		return status.Error(codes.ResourceExhausted, "too many streams have not said which node they are")
	}
	s := &stranger{ServerStream: st, left: sync.OnceFunc(func() { a.strangers.Add(-1) }), wait: a.wait}
	defer s.left()
	return serve(srv, s)
}

// stranger is a stream that has not said who it is until a first message has
// come.
type stranger struct {
	grpc.ServerStream
	left func() // its last moment as a stranger
	wait time.Duration
	seen bool
}

func (s *stranger) RecvMsg(m any) error {
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
		return status.Errorf(codes.DeadlineExceeded, "no request within %v", s.wait)
	}
}

// name is what streams are counted by.
func (s *admitted) name() string { return strings.Join(s.who, " ") }

func (a *admission) ended(s *admitted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, s)
	if a.ofWhom[s.name()]--; a.ofWhom[s.name()] == 0 {
		delete(a.ofWhom, s.name())
	}
}

// reload takes in the policy if its file has changed and is good, and then
// ends the connections of those that may no longer be what they are.
func (a *admission) reload() {
	if a.file == "" {
		return
	}
	raw, err := readUpTo(a.file, identity.MaxSize)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.reject([]definition.Problem{{File: a.file, Message: err.Error()}})
		a.raw = nil
		return
	}
	if a.raw != nil && bytes.Equal(raw, a.raw) {
		return
	}
	a.raw = raw
	policy, problems := identity.Parse(a.file, raw)
	if policy == nil {
		a.reject(problems)
		return
	}
	a.policy, a.wrong = policy, nil
	a.log.Info("policy loaded", "file", a.file)
	for s := range a.open {
		if err := policy.Allow(s.who, s.node); err != nil {
			a.log.Warn("ended the stream of a node that is no longer allowed", "node", s.node.ID, "reason", err)
			if s.end != nil {
				_ = s.end() // whatever it says, the connection is gone
			}
		}
	}
}

// reject keeps the policy from before. The caller holds a.mu.
func (a *admission) reject(problems []definition.Problem) {
	for i := range problems {
		if a.policy != nil && problems[i].Hint == "" {
			problems[i].Hint = "the policy from before stays in force"
		}
	}
	if !slices.Equal(problems, a.wrong) && a.policy != nil {
		a.log.Error("policy can't be loaded, the one from before stays in force", "file", a.file, "problems", len(problems))
	}
	a.wrong = problems
}

func (a *admission) problems() []definition.Problem {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.wrong)
}

// transport is TLS that tells each stream how to end its connection: gRPC has
// no other way to end a stream from outside.
type transport struct {
	credentials.TransportCredentials
}

func newTransport(config *tls.Config) *transport {
	return &transport{credentials.NewTLS(config)}
}

// connection is what a stream knows of its connection.
type connection struct {
	credentials.TLSInfo
	end func() error
}

func (t *transport) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := t.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	tlsInfo, ok := info.(credentials.TLSInfo)
	if !ok {
		return nil, nil, fmt.Errorf("a handshake by %T gave %T", t.TransportCredentials, info)
	}
	return conn, &connection{tlsInfo, raw.Close}, nil
}

func (t *transport) Clone() credentials.TransportCredentials {
	return &transport{t.TransportCredentials.Clone()}
}

// readUpTo reads a file that is no larger than limit.
func readUpTo(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("larger than %d bytes, the most that is read", limit)
	}
	return data, err
}
