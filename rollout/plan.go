package rollout

import (
	"maps"
	"slices"

	"wasmxds/definition"
	"wasmxds/module"
)

// Plan describes what each node gets. It is immutable and safe for concurrent use.
type Plan struct {
	Base *module.Set
	// Sets contains the set of each choice that a node has, or is likely to have when it
	// connects. A node with another choice gets the base until the machine knows the node.
	Sets map[Choice]*module.Set
	// Again means that a plan before this one was never published. An Envoy may have had
	// another choice in it, and what it runs by this one must be reported even if it has
	// been reported before.
	Again bool
	// Turn is the number of plans before it, as the leader has counted and saved them. It is
	// counted when a wave is saved as well, because that changes the plans of followers.
	Turn uint64

	open     []planned
	resolved map[Choice]Choice // the choice for each combination of changes whose waves have reached a node
}

// planned is a change that some Envoys have.
type planned struct {
	id      string
	reached reached
	nodes   []definition.Selector
	bakes   bool
}

// Choose returns the choice of a node. If no change is open, it is "" for all nodes, at no
// cost.
func (p *Plan) Choose(n definition.Node) Choice {
	if len(p.open) == 0 {
		return ""
	}
	return p.resolved[p.reached(&n, placeOf(n.ID))]
}

// Bakes reports whether a choice may still have to be undone, because a change in it has a
// bake time.
func (p *Plan) Bakes(c Choice) bool {
	return slices.ContainsFunc(p.open, func(o planned) bool { return o.bakes && c.Has(o.id) })
}

// Follows reports whether there is no other plan between a plan and the last one.
func (p *Plan) Follows(last *Plan) bool { return p.Turn == last.Turn || p.Turn == last.Turn+1 }

func (p *Plan) at(n *node) Choice {
	if len(p.open) == 0 {
		return ""
	}
	return p.resolved[p.reached(&n.Node, n.place)]
}

// reached returns the changes whose waves have reached a node.
func (p *Plan) reached(n *definition.Node, place uint64) Choice {
	var made Choice
	for i := range p.open {
		o := &p.open[i]
		if !o.reached.has(n, place) || !anyMatches(o.nodes, n) {
			continue
		}
		if made != "" {
			made += "+"
		}
		made += Choice(o.id)
	}
	return made
}

// nodesOf returns the distinct selectors of a change, so that a thousand filters for all
// nodes need only one match.
func nodesOf(diffs []diff) []definition.Selector {
	var all []definition.Selector
	known := map[string]bool{}
	add := func(i *Item) {
		if i == nil || known[i.selector] {
			return
		}
		known[i.selector] = true
		all = append(all, i.Nodes)
	}
	for _, d := range diffs {
		add(d.From)
		add(d.To)
	}
	return all
}

// newPlan returns the plan for the current state.
func (m *Machine) newPlan() *Plan {
	p := &Plan{Base: m.baseSet(), Sets: map[Choice]*module.Set{}, resolved: map[Choice]Choice{}, Turn: m.turn}
	for _, c := range m.open {
		if c.reaches() {
			p.open = append(p.open, planned{c.ID, c.Reached, c.nodes, c.Policy != nil && c.Policy.Bake > 0})
		}
	}
	if len(p.open) == 0 {
		return p
	}
	// The next new node most likely has one of the changes, or all.
	var all []string
	for _, o := range p.open {
		m.include(p, Choice(o.id))
		all = append(all, o.id)
	}
	m.include(p, choiceOf(all))
	for _, n := range m.fleet.nodes {
		m.include(p, p.reached(&n.Node, n.place))
	}
	return p
}

// include adds the choice for a combination of changes to the plan.
func (m *Machine) include(p *Plan, at Choice) {
	if p.includes(at) {
		return
	}
	choice, set := m.combined(at)
	p.resolved[at] = choice
	if choice != "" {
		p.Sets[choice] = set
	}
}

func (p *Plan) includes(at Choice) bool {
	_, is := p.resolved[at]
	return is || at == ""
}

// with returns the plan extended by the choice of one more node; nil: the plan already has
// it.
func (m *Machine) with(p *Plan, n *node) *Plan {
	at := p.reached(&n.Node, n.place)
	if p.includes(at) {
		return nil
	}
	next := *p
	next.resolved, next.Sets = maps.Clone(p.resolved), maps.Clone(p.Sets)
	m.include(&next, at)
	return &next
}

// baseSet returns the base as a module.Set. If the desired state is in force, it is that
// very set.
func (m *Machine) baseSet() *module.Set {
	if m.baseWhole != nil {
		return m.baseWhole
	}
	if same(m.base, m.wanted.items) {
		m.baseWhole = m.wanted.whole
	} else {
		m.baseWhole = m.base.modules(m.wanted.whole)
	}
	return m.baseWhole
}

func same(a, b items) bool {
	return len(a) == len(b) && maps.EqualFunc(a, b, func(x, y *Item) bool { return x == y })
}
