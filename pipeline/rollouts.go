package pipeline

import (
	"context"
	"fmt"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/rollout/judge"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// newDriver returns the driver, which decides which Envoys get a change.
func (p *Pipeline) newDriver(ctx context.Context) (*driver.Driver, error) {
	d, err := driver.New(ctx, driver.Options{
		Options: rollout.Options{
			Check:   checker(p.options.Resources),
			Signals: p.options.Resources.Signals != "",
			Before:  judge.Before, MostBefore: judge.MostBefore, Known: p.judge.Known,
		},
		State:    p.options.XDS.State,
		Rest:     eventsRest,
		Replicas: p.options.Replicas.driver(),
		Publish:  p.plan,
		Watch:    p.watch,
		Look:     p.look,
		Heard:    func(e rollout.Event) { p.judge.Tell(time.Now(), e) },
		Told:     p.told,
		Log:      p.options.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("roll changes out: %w", err)
	}
	return d, nil
}

// plan passes a plan on to be compiled and published.
func (p *Pipeline) plan(plan *rollout.Plan) {
	select {
	case p.plans <- plan:
	case <-p.ended:
	}
}

// checker returns a function that reports the problems of a set. It must be
// called by one goroutine, and reuses what it compiled for the previous set.
func checker(o resource.Options) func(*module.Set) []string {
	var last *resource.Catalog
	return func(set *module.Set) []string {
		c, problems := resource.Compile(last, resource.Sets{Base: set}, o)
		last = c
		filters := make([]*definition.Filter, len(set.Filters))
		for i, f := range set.Filters {
			filters[i] = f.Definition
		}
		wrong := definition.Conflicts(filters, set.Listeners, set.Resources)
		for _, p := range problems.Base {
			wrong = append(wrong, p.Error())
		}
		return wrong
	}
}

// observed handles an event of an Envoy's stream.
func (p *Pipeline) observed(o xds.Observed) {
	if o.What == xds.Fresh && p.others == nil {
		return // there are no other servers that had it
	}
	if e := eventOf(o); e != nil {
		p.rollouts.Tell(e)
	}
}

// swapped handles steps of filters on an Envoy. A crash is reported here, once,
// and not for the alarm of each request that the crashed VM answered, so that
// the curves in the status agree with what stops a change.
func (p *Pipeline) swapped(w xds.Swaps) {
	for _, c := range w.Changes {
		if c.Stage == swap.ChangeCrashed {
			p.rollouts.Tell(rollout.Crashed{ID: w.Node, Filter: c.Filter, Unsure: c.Unsure})
		}
	}
	p.swaps.Add(w)
}

func eventOf(o xds.Observed) rollout.Event {
	switch o.What {
	case xds.Connected:
		return rollout.Connected{Node: o.Node}
	case xds.Gone:
		return rollout.Gone{ID: o.Node.ID, Had: o.Had}
	case xds.Fresh:
		return rollout.Fresh{ID: o.Node.ID}
	case xds.Restarted:
		return rollout.Restarted{ID: o.Node.ID}
	case xds.Settled:
		return rollout.Settled{ID: o.Node.ID, Choice: rollout.Choice(o.Choice), Unable: o.Unable}
	case xds.Refused:
		if o.Refusal.Unfetched || o.Besides {
			return nil // it is reported again when the Envoy has the module; no change is to blame
		}
		return rollout.Refused{ID: o.Node.ID, Choice: rollout.Choice(o.Choice), Key: keyOf(o.Refusal), Message: o.Refusal.Message}
	}
	return nil
}

// keyOf returns the definition that a rejected resource was made from.
func keyOf(r *swap.Refusal) rollout.Key {
	switch r.Type {
	case swap.Extension:
		return rollout.Key{Kind: rollout.FilterKind, Name: r.Name}
	case swap.Listener:
		return rollout.Key{Kind: rollout.ListenerKind, Name: r.Name}
	}
	return rollout.Key{Kind: r.Type.URL(), Name: r.Name}
}

// publicationOf compiles a plan, reusing what was published before.
func publicationOf(last *resource.Catalog, plan *rollout.Plan, pairs map[*definition.Listener]*resource.Pair, o resource.Options) (xds.Publication, resource.Problems) {
	sets := resource.Sets{Base: plan.Base, Choices: make(map[resource.Choice]*module.Set, len(plan.Sets)), Standby: make(map[resource.Choice]bool, len(plan.Sets)), Pairs: pairs}
	for choice, set := range plan.Sets {
		sets.Choices[resource.Choice(choice)] = set
		sets.Standby[resource.Choice(choice)] = plan.Bakes(choice)
	}
	catalog, problems := resource.Compile(last, sets, o)
	return xds.Publication{Catalog: catalog, Again: plan.Again, Choose: func(n definition.Node) resource.Choice {
		return resource.Choice(plan.Choose(n))
	}}, problems
}

// mover adds the curves of Envoys' reports to the driver's status.
type mover struct {
	*driver.Driver
	judge *judge.Judge
}

// Status returns the status of all changes.
func (m mover) Status(ctx context.Context) (rollout.Status, error) {
	s, err := m.Driver.Status(ctx)
	curves(&s, m.judge)
	return s, err
}

// curves adds the curves of Envoys' reports, unless another server has added
// them.
func curves(s *rollout.Status, judge *judge.Judge) {
	now := time.Now()
	for i := range s.Changes {
		if c := &s.Changes[i]; c.Curves == nil {
			c.Curves = judge.Curves(now, c.ID)
		}
	}
}
