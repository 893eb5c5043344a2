package pipeline

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"wasmxds/admin"
	"wasmxds/replica"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/judge"
	"wasmxds/state"
)

// Replicas are the servers of a shared state. The caller of Pipeline.Run serves
// requests to Peers.
type Replicas struct {
	Peers  *replica.Peers
	Shared state.Store // the state itself
	// Copy is this server's copy of the state, including writes that are still
	// due. In makes these writes in a term, and GiveUp drops them. See
	// driver.Replicas.
	Copy   state.Store
	In     func(context.Context, state.Term) (state.Store, error)
	GiveUp func()
}

// driver returns the options of the rollout driver.
func (r *Replicas) driver() *driver.Replicas {
	if r == nil {
		return nil
	}
	registry := r.Peers.Registry
	return &driver.Replicas{
		ID:   registry.ID(),
		Lead: func(ctx context.Context) (state.Term, error) { return registry.Lead(ctx, "rollouts") },
		In:   r.In, Shared: r.Shared, Copy: r.Copy, GiveUp: r.GiveUp,
		Leader: r.Peers.Leader, Others: registry.Others, SameClock: registry.SameClock,
	}
}

// peer is the mover for requests of other servers.
type peer struct {
	driver.Here
	judge *judge.Judge
}

// Status returns the status of all changes, as long as this server leads.
func (p peer) Status(ctx context.Context) (rollout.Status, error) {
	s, err := p.Here.Status(ctx)
	curves(&s, p.judge)
	return s, err
}

// Leads reports whether this server moves changes.
func (p *Pipeline) Leads() bool { return p.rollouts.Standing().Stand == driver.Leads }

// replicas returns all servers of the state, by id.
func (p *Pipeline) replicas() []admin.Replica {
	registry := p.options.Replicas.Peers.Registry
	standing := p.rollouts.Standing()
	leader, term := registry.Leader()
	var all []admin.Replica
	for _, m := range registry.All() {
		r := admin.Replica{ID: m.ID, Address: m.Address, Self: m.ID == registry.ID(), Lives: m.Lives}
		if r.Self {
			r.Stand = string(standing.Stand)
		} else if r.Stand = string(driver.Follows); term > 0 && m.ID == leader.ID && standing.Stand != driver.Leads {
			r.Stand = string(driver.Leads)
		}
		switch {
		case !r.Lives:
			r.Trouble = "it has not been seen for a while"
		case slices.Contains(standing.Unheard, m.ID):
			r.Trouble = "the leader can't reach it: no wave begins"
		case r.Stand == string(driver.Leads) && !r.Self && standing.Lost != "":
			r.Trouble = standing.Lost
		case r.Self && standing.Behind:
			r.Trouble = "what Envoys of the one that leads have can't be written down: this one goes on by what it reads itself, and no wave begins"
		case r.Self && standing.Stand == driver.Cares:
			r.Trouble = "it can't read the state: what was last known stays in force, and no wave begins"
		case r.Self && registry.Twin():
			r.Trouble = "another server has its id: the data directory of one is a copy of the other's"
		case r.Self && standing.Lost != "" && term == 0:
			r.Trouble = standing.Lost
		case r.Self && len(standing.Apart) > 0:
			r.Trouble = "it has other definitions than the server that leads, whose definitions count: " + apart(standing.Apart)
			r.Hint = "give all servers of a state the same definitions; what is only here gets to no Envoy"
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b admin.Replica) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// apart names the first of some definitions, for people.
func apart(keys []rollout.Key) string {
	const most = 3
	var names []string
	for _, k := range keys[:min(most, len(keys))] {
		names = append(names, path.Base(k.Kind)+" "+k.Name)
	}
	all := strings.Join(names, ", ")
	if more := len(keys) - most; more > 0 {
		all += fmt.Sprintf(", and %d more", more)
	}
	return all
}
