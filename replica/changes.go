package replica

import (
	"context"
	"errors"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
)

// Mover moves changes on this replica while it leads.
type Mover interface {
	Hear(ctx context.Context, term uint64, from string, t roster.Telling) (driver.Answer, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// Paths of requests about changes.
const (
	hearPath   = "/peer/v1/hear"
	doPath     = "/peer/v1/do"
	statusPath = "/peer/v1/rollouts"
)

// heard is a report to the leader of a term.
type heard struct {
	Term    uint64         `json:"term"`
	Telling roster.Telling `json:"telling"`
}

type nothing struct{}

// Moves lets other replicas send requests to m. Call it before Serve.
func (p *Peers) Moves(m Mover) {
	On(p, hearPath, func(ctx context.Context, from Member, h heard) (driver.Answer, error) {
		return m.Hear(ctx, h.Term, from.ID, h.Telling)
	})
	On(p, doPath, func(ctx context.Context, _ Member, c rollout.Command) (nothing, error) {
		return nothing{}, m.Do(ctx, c)
	})
	On(p, statusPath, func(ctx context.Context, _ Member, _ nothing) (rollout.Status, error) {
		return m.Status(ctx)
	})
}

// Leader returns the replica that is currently known to lead.
func (p *Peers) Leader() driver.Leader {
	at, term := p.Registry.Leader()
	return remote{p, at, term}
}

// remote is the leader, on another replica.
type remote struct {
	peers *Peers
	at    Member
	term  uint64
}

// Term returns its term; 0: no leader is known.
func (r remote) Term() uint64 { return r.term }

// Known reports whether the store has said who leads, or that nobody does.
func (r remote) Known() bool { return r.term != 0 || r.peers.Registry.Looked() }

// Hear sends it reports of Envoys.
func (r remote) Hear(ctx context.Context, t roster.Telling) (driver.Answer, error) {
	return askLeader[heard, driver.Answer](ctx, r, hearPath, heard{r.term, t})
}

// Do sends it a command.
func (r remote) Do(ctx context.Context, c rollout.Command) error {
	_, err := askLeader[rollout.Command, nothing](ctx, r, doPath, c)
	return err
}

// Status requests its status of all changes.
func (r remote) Status(ctx context.Context) (rollout.Status, error) {
	return askLeader[nothing, rollout.Status](ctx, r, statusPath, nothing{})
}

var errNobody = unreached{errors.New("the leader is not known"), true}

func askLeader[Q, A any](ctx context.Context, r remote, path string, q Q) (a A, err error) {
	if r.term == 0 || r.at.ID == r.peers.Registry.ID() { // it led, and no longer does
		return a, errNobody
	}
	return Call[Q, A](ctx, r.peers, r.at, path, q)
}
