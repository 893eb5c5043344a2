package xds

import (
	"slices"
	"time"

	"wasmxds/definition"
	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// Observed is something that an Envoy's streams tell of it.
type Observed struct {
	What Observation
	Node definition.Node
	At   time.Time

	Choice  resource.Choice // of Settled and Refused
	Unable  bool            // of Settled: it has not asked for the runtime layer by which it is told to sample
	Refusal *swap.Refusal   // of Refused
	Had     bool            // of Gone: it had something of what it was sent
}

// Observation says what was observed.
type Observation uint8

const (
	// Connected: the node has a stream. It is told of each: the node may have others
	// still, and other labels than before.
	Connected Observation = iota
	// Gone: its last stream has ended.
	Gone
	// Restarted: the Envoy has come back with nothing of what it had, so it is
	// another process. One that starts hot, beside the one before, has not.
	Restarted
	// Refused: it has refused a version of something, for the first time since it is to
	// have what it is to have.
	Refused
	// Settled: all is in place that it is to have by its choice, once for each
	// choice and Snapshot; once more on each stream.
	Settled
	// Fresh: the Envoy has come with nothing, and was not here of late. Another server
	// may know it.
	Fresh
)

// restartWithin is how long an Envoy may have been away that has restarted: one that
// a supervisor starts again and again waits for up to five minutes. One that is
// back later was most likely taken down.
const restartWithin = 10 * time.Minute

// toldRefusal is a refusal that was told. What is tried again is not told again.
type toldRefusal struct {
	typ           swap.Type
	name, version string
	unfetched     bool
}

// maxRefusalsTold is how many are remembered of a stream, the newest.
const maxRefusalsTold = 64

// observe tells o of a node. The caller holds s.mu or the mu of a client of the
// node, so that what is told of one stream is in order.
func (s *Server) observe(n definition.Node, o Observed) {
	if s.observed != nil {
		o.Node, o.At = n, s.now()
		s.observed(o)
	}
}

// observeStep tells what a step of c's machine has led to. The caller holds c.mu.
func (s *Server) observeStep(c *client, refused []swap.Refusal) {
	if c.stream == nil {
		return
	}
	for _, r := range refused {
		if told := (toldRefusal{r.Type, r.Name, r.Version, r.Unfetched}); !slices.Contains(c.refusals, told) {
			c.refusals = append(c.refusals[max(0, len(c.refusals)+1-maxRefusalsTold):], told)
			s.logRefusal(c, r)
			s.arrives(c, rejected)
			s.observe(c.node, Observed{What: Refused, Refusal: &r, Choice: c.wants.choice})
		}
	}
	if !c.settled && c.gets == c.wants.chosen && c.machine.InPlace() {
		c.settled = true
		s.arrives(c, arrived)
		s.observe(c.node, Observed{What: Settled, Choice: c.wants.choice, Unable: !c.machine.CanSample()})
	}
}

// logRefusal has an operator know without looking at the status.
func (s *Server) logRefusal(c *client, r swap.Refusal) {
	what := "Envoy rejects a resource"
	if r.Unfetched {
		what = "Envoy rejects a filter, or can't fetch its module"
	}
	s.log.Warn(what, "node", c.node.ID, "type", r.Type, "name", r.Name, "version", r.Version, "reason", r.Message)
}

// answered takes the first answer of c's Envoy to a response. By then it has said all
// that it has.
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

// returns tells whether a node that connects was here of late, and had something.
func (g *gone) returns(now time.Time) bool {
	return g != nil && g.had && now.Sub(g.since) < restartWithin
}
