package xds

import (
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// Observed is an event of an Envoy.
type Observed struct {
	What Observation
	Node definition.Node
	At   time.Time

	Choice  resource.Choice // for Settled and Refused
	Unable  bool            // for Settled: it has not subscribed to the runtime layer that controls sampling
	Refusal *swap.Refusal   // for Refused
	Besides bool            // for Refused: it is no part of the choice, and would be rejected without it
	Had     bool            // for Gone: it had something that it was sent
}

// Observation is the kind of an event.
type Observation uint8

const (
	// Connected: the node has a stream. This is reported for each stream: the node may have
	// others, and other labels than before.
	Connected Observation = iota
	// Gone: the node's last stream has ended.
	Gone
	// Restarted: the Envoy has reconnected without the resources that it had, so it is
	// another process. This is not reported for a hot restart, while the previous process
	// is still connected.
	Restarted
	// Refused: the Envoy has rejected a version of a resource, for the first time since its
	// snapshot changed.
	Refused
	// Settled: everything in which the Envoy's choice differs from the base is in place, or,
	// if it has no choice, everything. This is reported once for each choice and Snapshot,
	// and again on each stream.
	Settled
	// Fresh: the Envoy has connected without resources, and was not connected here
	// recently. Another replica may know it.
	Fresh
)

// restartWithin is how long an Envoy that restarts may be away: a supervisor that starts
// one repeatedly waits for up to five minutes. An Envoy that is back later was most likely
// shut down.
const restartWithin = 10 * time.Minute

// maxRefusalsTold is how many reported rejections are remembered per stream, the newest.
// Further attempts at the same version are not reported again.
const maxRefusalsTold = 64

// observe reports an event of a node. The caller holds s.mu or the mu of a client of the
// node, so that the events of one stream are in order.
func (s *Server) observe(n definition.Node, o Observed) {
	if s.observed != nil {
		o.Node, o.At = n, s.now()
		s.observed(o)
	}
}

// observeStep reports the results of a step of c's machine. The caller holds c.mu.
func (s *Server) observeStep(c *client, refused []swap.Refusal) {
	if c.stream == nil {
		return
	}
	for _, r := range refused {
		if !slices.ContainsFunc(c.refusals, func(told swap.Refusal) bool { told.Message = r.Message; return told == r }) {
			c.refusals = append(c.refusals[max(0, len(c.refusals)+1-maxRefusalsTold):], r)
			s.logRefusal(c, r)
			s.arrives(c, rejected)
			s.observeRefusal(c, r)
		}
	}
	if !c.settled && c.machine.Has(c.goal()) {
		c.settled, c.leaves = true, nil
		s.arrives(c, arrived)
		s.observe(c.node, Observed{What: Settled, Choice: c.wants.choice, Unable: !c.machine.CanSample()})
	}
}

// observeAgain reports rejections again that were reported before, as far as the Envoy still
// rejects the same version: the machine reports each only once. The caller holds c.mu.
func (s *Server) observeAgain(c *client, before []swap.Refusal) {
	if c.stream == nil {
		return
	}
	for _, r := range before {
		if c.machine.Rejects(r) {
			s.observeRefusal(c, r)
		}
	}
}

func (s *Server) observeRefusal(c *client, r swap.Refusal) {
	s.observe(c.node, Observed{What: Refused, Refusal: &r, Choice: c.wants.choice, Besides: !c.machine.Concerns(c.goal(), r)})
}

// goal returns what c's choice asks of its Envoy. In the base, everything counts, except
// that an Envoy from which a change was taken is only to be rid of that.
func (c *client) goal() swap.Goal {
	goal := swap.Goal{To: c.wants.chosen, Left: c.leaves}
	if c.wants.choice != "" || c.leaves != nil {
		goal.Base = c.base
	}
	return goal
}

// leave remembers what c has by its choice when it gets another one.
func (c *client) leave(next resource.Choice) {
	switch {
	case c.wants.choice == next:
	case c.wants.choice == "":
		c.leaves = nil
	default:
		c.leaves = c.wants.chosen
	}
}

// logRefusal logs a rejection, so that operators need not look at the status.
func (s *Server) logRefusal(c *client, r swap.Refusal) {
	what := "Envoy rejects a resource"
	if r.Unfetched {
		what = "Envoy rejects a filter, or can't fetch its module"
	}
	s.log.Warn(what, "node", c.node.ID, "type", r.Type, "name", r.Name, "version", r.Version, "reason", r.Message)
}

// answered processes the first answer of c's Envoy to a response. By then the Envoy has
// listed everything that it has.
func (s *Server) answered(c *client) {
	c.mu.Lock()
	fresh := c.machine.Fresh()
	c.answered = true
	c.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	rec := s.nodes[c.node.ID]
	if rec == nil {
		return
	}
	had := c.returns || rec.had
	rec.had = false
	switch {
	case !fresh || len(rec.clients) > 1:
	case had:
		s.observe(c.node, Observed{What: Restarted})
	default:
		s.observe(c.node, Observed{What: Fresh})
	}
}

// returns reports whether a node that connects was here recently, and had something that it
// was sent.
func (g *gone) returns(now time.Time) bool {
	return g != nil && g.had && now.Sub(g.since) < restartWithin
}
