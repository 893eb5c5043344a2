// Package admission admits streams of clients that an [identity.Policy] allows,
// within limits.
//
// Start with [New]. A grpc.Server that serves the streams uses
// [Admission.Intercept] as its interceptor and [Credentials] for TLS. Other
// servers call [Admission.Meet]. [Admission.Allow] decides about each stream.
// [Admission.Reload] applies a policy that has changed, also to open streams.
package admission

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/files"
	"wasmxds/identity"
)

// Admission decides which streams are admitted: whether a client may be the
// node that it claims to be, and how many streams there may be. It is safe for
// concurrent use.
type Admission struct {
	file           string // of the policy; "": none
	limit, perWhom int
	wait           time.Duration // for the first request of a stream
	log            *slog.Logger
	unidentified   atomic.Int64 // number of streams without a first request

	mu     sync.Mutex
	raw    []byte // content of the policy file at the last read, valid or not
	policy *identity.Policy
	wrong  []definition.Problem // problems with the current file
	open   map[*admitted]struct{}
	ads    int            // number of ADS streams in open
	ofWhom map[string]int // number of ADS streams in open, by identities
}

// admitted is an open stream.
type admitted struct {
	node definition.Node
	logs bool         // a stream of access logs
	who  []string     // identities in the client's certificate
	end  func() error // closes the connection; nil: without TLS
}

// Options are the options of New.
type Options struct {
	Policy      string // file of an [identity.Policy]; "": every client may be any node
	Streams     int    // maximum number of streams
	PerIdentity int    // maximum number of streams with the same identities in their certificates
	Log         *slog.Logger
}

// New returns an Admission. It returns an error if the policy is not valid.
func New(o Options) (*Admission, error) {
	a := &Admission{file: o.Policy, limit: o.Streams, perWhom: o.PerIdentity, wait: firstRequest, log: o.Log,
		open: map[*admitted]struct{}{}, ofWhom: map[string]int{}}
	if a.Reload(); a.file != "" && a.policy == nil {
		var all []error
		for _, p := range a.wrong {
			all = append(all, p)
		}
		return nil, errors.Join(all...)
	}
	return a, nil
}

// Allow returns nil if the stream of ctx may be node. The stream counts as open
// until ctx ends. It is for xds.Options.Allow.
func (a *Admission) Allow(ctx context.Context, node definition.Node) error {
	return a.admit(ctx, &admitted{node: node})
}

// AllowLogs is like Allow for a stream of access logs, which does not count
// towards the limits. An Envoy has one for each worker thread.
func (a *Admission) AllowLogs(ctx context.Context, node definition.Node) error {
	return a.admit(ctx, &admitted{node: node, logs: true})
}

func (a *Admission) admit(ctx context.Context, s *admitted) error {
	s.who, s.end = clientOf(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.policy != nil {
		if err := a.policy.Allow(s.who, s.node); err != nil {
			return err
		}
	}
	switch whom := s.name(); {
	case s.logs:
		a.open[s] = struct{}{}
	case a.ads >= a.limit:
		return status.Errorf(codes.ResourceExhausted, "there are %d streams, and no more are allowed (--max-streams)", a.limit)
	case whom != "" && a.ofWhom[whom] >= a.perWhom:
		return status.Errorf(codes.ResourceExhausted, "%s has %d streams, and no more are allowed (--max-streams-per-identity)", whom, a.perWhom)
	default:
		a.open[s] = struct{}{}
		a.ads++
		a.ofWhom[whom]++
	}
	context.AfterFunc(ctx, func() { a.ended(s) })
	return nil
}

// AllowStatus returns nil if the client of ctx may see the status of node,
// because it may be that node. It is for xds.Options.AllowStatus.
func (a *Admission) AllowStatus(ctx context.Context, node definition.Node) error {
	a.mu.Lock()
	policy := a.policy
	a.mu.Unlock()
	if policy == nil {
		return nil
	}
	who, _ := clientOf(ctx)
	return policy.Allow(who, node)
}

// Operator returns the identity in a verified certificate that the policy
// allows to operate the fleet, or "" if there is none.
func (a *Admission) Operator(cert *x509.Certificate) string {
	a.mu.Lock()
	policy := a.policy
	a.mu.Unlock()
	if policy == nil {
		return ""
	}
	return policy.Operator(identity.Of(cert))
}

// clientOf returns the identities in a client's certificate, and a function
// that closes its connection, which is nil without TLS.
func clientOf(ctx context.Context) (who []string, end func() error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil, nil
	}
	info, ok := p.AuthInfo.(*connection)
	if !ok {
		return nil, nil
	}
	if chains := info.State.VerifiedChains; len(chains) > 0 {
		who = identity.Of(chains[0][0])
	}
	return who, info.end
}

// name returns the identities under which the stream is counted.
func (s *admitted) name() string { return strings.Join(s.who, " ") }

func (a *Admission) ended(s *admitted) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, s)
	if s.logs {
		return
	}
	a.ads--
	if a.ofWhom[s.name()]--; a.ofWhom[s.name()] == 0 {
		delete(a.ofWhom, s.name())
	}
}

// Reload applies the policy if its file has changed and is valid. Then it
// closes the connections of clients that are no longer allowed.
func (a *Admission) Reload() {
	if a.file == "" {
		return
	}
	raw, err := files.Read(a.file, identity.MaxSize)
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
				_ = s.end() // even with an error, the connection is closed
			}
		}
	}
}

// reject keeps the previous policy. The caller must hold a.mu.
func (a *Admission) reject(problems []definition.Problem) {
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

// Problems returns the problems with the current policy file.
func (a *Admission) Problems() []definition.Problem {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.wrong)
}
