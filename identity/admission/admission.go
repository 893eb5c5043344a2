// Package admission lets streams in: those of clients that an
// [identity.Policy] allows, within limits.
//
// Start with [New]. A grpc.Server that serves them takes [Admission.Intercept]
// as its interceptor and [Credentials] for TLS; what serves streams otherwise
// calls [Admission.Meet]. [Admission.Allow] decides on each stream. [Admission.Reload] takes in a policy that has changed; it also
// holds for streams that are open.
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

// Admission decides which streams there may be: whether a client may be the
// node that it says it is, and how many there are of it. It is safe for
// concurrent use.
type Admission struct {
	file           string // of the policy; "": there is none
	limit, perWhom int
	wait           time.Duration // for the first request of a stream
	log            *slog.Logger
	unidentified   atomic.Int64 // streams that have not said who they are

	mu     sync.Mutex
	raw    []byte // of the policy as it was last read, good or not
	policy *identity.Policy
	wrong  []definition.Problem // with the file as it is now
	open   map[*admitted]struct{}
	ads    int            // of those
	ofWhom map[string]int // of those
}

// admitted is a stream that is open.
type admitted struct {
	node definition.Node
	logs bool         // it is one of access logs
	who  []string     // identities in the client's certificate
	end  func() error // of the connection; nil: without TLS
}

// Options say whom New lets in.
type Options struct {
	Policy      string // file of an [identity.Policy]; "": every client may be every node
	Streams     int    // at once
	PerIdentity int    // streams at once with the same names in their certificate
	Log         *slog.Logger
}

// New reads the policy, which must be good.
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

// Allow is nil when the stream of ctx may be node; it counts as open until ctx
// ends. It is for xds.Options.Allow.
func (a *Admission) Allow(ctx context.Context, node definition.Node) error {
	return a.admit(ctx, &admitted{node: node})
}

// AllowLogs is the same for a stream of access logs, which does not count for the
// limits. An Envoy has one for each worker thread.
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

// AllowStatus is nil when the client of ctx may see the status of node: it may
// be that node itself. It is for xds.Options.AllowStatus.
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

// Operator gives the identity by which the policy lets the owner of a verified
// certificate operate the fleet; "": it does not.
func (a *Admission) Operator(cert *x509.Certificate) string {
	a.mu.Lock()
	policy := a.policy
	a.mu.Unlock()
	if policy == nil {
		return ""
	}
	return policy.Operator(identity.Of(cert))
}

// clientOf gives the identities in a client's certificate, and what ends its
// connection; nil: without TLS.
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

// name is what streams are counted by.
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

// Reload takes in the policy if its file has changed and is good, and then
// ends the connections of those that may no longer be what they are.
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
				_ = s.end() // whatever it says, the connection is gone
			}
		}
	}
}

// reject keeps the policy from before. The caller holds a.mu.
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

// Problems are what is wrong with the policy's file as it is now.
func (a *Admission) Problems() []definition.Problem {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.wrong)
}
