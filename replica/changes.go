package replica

import (
	"context"
	"errors"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/roster"
)

// Mover is what moves changes on this server, when it leads.
type Mover interface {
	Hear(ctx context.Context, term uint64, from string, t roster.Telling) (driver.Answer, error)
	Do(ctx context.Context, c rollout.Command) error
	Status(ctx context.Context) (rollout.Status, error)
}

// Where servers speak of changes.
const (
	hearPath   = "/peer/v1/hear"
	doPath     = "/peer/v1/do"
	statusPath = "/peer/v1/rollouts"
)

// heard is what is told to who leads in a term.
type heard struct {
	Term    uint64         `json:"term"`
	Telling roster.Telling `json:"telling"`
}

type nothing struct{}

// Moves has other servers reach what moves changes here. It is for before Serve.
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

// Leader is the server that leads, as it is known now.
func (p *Peers) Leader() driver.Leader {
	at, term := p.Registry.Leader()
	return remote{p, at, term}
}

// remote is the leader, on another server.
type remote struct {
	peers *Peers
	at    Member
	term  uint64
}

// Term is its term; 0: nobody is known to lead.
func (r remote) Term() uint64 { return r.term }

// Hear tells it what Envoys have told.
func (r remote) Hear(ctx context.Context, t roster.Telling) (driver.Answer, error) {
	return askLeader[heard, driver.Answer](ctx, r, hearPath, heard{r.term, t})
}

// Do has it do what people say.
func (r remote) Do(ctx context.Context, c rollout.Command) error {
	_, err := askLeader[rollout.Command, nothing](ctx, r, doPath, c)
	return err
}

// Status is what it tells of all changes.
func (r remote) Status(ctx context.Context) (rollout.Status, error) {
	return askLeader[nothing, rollout.Status](ctx, r, statusPath, nothing{})
}

var errNobody = unreached{errors.New("it is not known which server moves changes")}

func askLeader[Q, A any](ctx context.Context, r remote, path string, q Q) (a A, err error) {
	if r.term == 0 || r.at.ID == r.peers.Registry.ID() { // it did, and does no more
		return a, errNobody
	}
	return Call[Q, A](ctx, r.peers, r.at, path, q)
}
