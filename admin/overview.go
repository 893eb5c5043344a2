package admin

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// overview is the whole fleet in figures, and the Envoys that need a look.
// Immutable.
type overview struct {
	At       time.Time
	Status   Status // without nodes
	Envoys   int    // that are connected
	Good     int    // of them: those that run all that is wanted
	States   map[swap.State]int
	Squares  []square             // the first Envoys, for the picture of the fleet
	Versions map[string][]running // by filter name
	Trouble  []*trouble           // the first of them, the worst first
	Troubles int                  // all of them
	digest   uint64               // of all that is shown
	of       generation
	until    time.Time // it may be shown so long, though there is a newer generation
}

// square is an Envoy in the picture of the fleet.
type square struct {
	ID    string
	State swap.State
}

// running is how many Envoys run a version of a filter.
type running struct {
	Version string // "": none runs
	Wanted  bool
	Nodes   int
}

// trouble is why Envoys do not run what is wanted; all of them for the same
// reason.
type trouble struct {
	cause
	Nodes []string // the first of them
	Count int
}

type cause struct {
	Filter, Listener string // one of them
	State            swap.State
	Running          string // version; "": none
	Reason           string
}

// What is shown of a large fleet on one page.
const (
	shownSquares  = 600
	shownTroubles = 20
	shownNodes    = 12 // of one trouble
)

// overviews makes overviews, one at a time, and only when something changed: a
// page that many look at costs no more than one that one looks at. While a
// large fleet changes all the time, looking at it takes up to a twentieth of
// a processor.
type overviews struct {
	seed maphash.Seed // of digests
	mu   sync.Mutex
	last *overview
}

const (
	fresh     = 250 * time.Millisecond // at most one in it
	lookShare = 20                     // how many times as long as a look took the next one is away, at least
	stale     = 3 * time.Second        // and at most
)

func (s *Server) overview() *overview { return s.overviewOf(s.all) }

func (s *Server) overviewOf(v *sight) *overview {
	c := &v.overviews
	c.mu.Lock()
	defer c.mu.Unlock()
	now, of := s.opts.Now(), s.generation(v)
	if c.last == nil || c.last.of != of && !now.Before(c.last.until) {
		start := time.Now()
		c.last = s.look(v, now)
		c.last.of, c.last.until = of, now.Add(max(fresh, min(stale, lookShare*time.Since(start))))
	}
	return c.last
}

// look walks the fleet.
func (s *Server) look(v *sight, now time.Time) *overview {
	o := &overview{At: now, Status: s.statusOf(v), States: map[swap.State]int{}}
	c := census{map[string]map[running]int{}, map[cause]*trouble{}}
	digest := newDigest(v.overviews.seed)
	for after := ""; ; {
		nodes, next := v.fleet.Nodes(after, maxNodes)
		for i := range nodes {
			o.add(&nodes[i], &c)
			digest.node(&nodes[i])
		}
		if next == "" || len(nodes) == 0 {
			break
		}
		after = next
	}
	o.take(&c)
	st := o.Status
	digest.add(fmt.Sprint(st.Definitions, st.Filters, st.Replicas, st.TurnedAway, s.draining.Load()))
	o.digest = digest.Sum64()
	return o
}

// census is what is counted on the way through the fleet.
type census struct {
	versions map[string]map[running]int // by filter name
	troubles map[cause]*trouble
}

// take puts what was counted in order.
func (o *overview) take(c *census) {
	o.Versions = make(map[string][]running, len(c.versions))
	for name, byVersion := range c.versions {
		for r, n := range byVersion {
			r.Nodes = n
			o.Versions[name] = append(o.Versions[name], r)
		}
		slices.SortFunc(o.Versions[name], compareRunning)
	}
	o.Trouble = slices.SortedFunc(maps.Values(c.troubles), func(a, b *trouble) int {
		if a.State != b.State {
			if worse(a.State, b.State) == a.State {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Count-a.Count, strings.Compare(a.Nodes[0], b.Nodes[0]), strings.Compare(a.Filter+a.Listener, b.Filter+b.Listener))
	})
	o.Troubles = len(o.Trouble)
	o.Trouble = o.Trouble[:min(o.Troubles, shownTroubles)]
}

// add counts one Envoy.
func (o *overview) add(n *xds.NodeStatus, c *census) {
	if !n.AwaySince.IsZero() {
		o.count(n.ID, swap.Away)
		return
	}
	state := swap.Running
	for _, f := range n.Filters {
		if f.State == swap.Unasked {
			continue
		}
		if c.versions[f.Name] == nil {
			c.versions[f.Name] = map[running]int{}
		}
		c.versions[f.Name][running{Version: f.Running, Wanted: f.State == swap.Running}]++
		if f.State != swap.Running {
			state = worse(state, f.State)
			c.trouble(n.ID, cause{Filter: f.Name, State: f.State, Running: f.Running, Reason: f.Reason})
		}
	}
	for _, l := range n.Listeners {
		if behind(&l) {
			state = worse(state, swap.Waiting)
			c.trouble(n.ID, cause{Listener: l.Name, State: swap.Waiting, Running: l.Running, Reason: l.Reason})
		}
	}
	o.Envoys++
	if state == swap.Running {
		o.Good++
	}
	o.count(n.ID, state)
}

func (o *overview) count(id string, state swap.State) {
	o.States[state]++
	if len(o.Squares) < shownSquares {
		o.Squares = append(o.Squares, square{id, state})
	}
}

func (c *census) trouble(node string, why cause) {
	t := c.troubles[why]
	if t == nil {
		t = &trouble{cause: why}
		c.troubles[why] = t
	}
	t.Count++
	if len(t.Nodes) < shownNodes {
		t.Nodes = append(t.Nodes, node)
	}
}

// worse is the state that needs a look sooner.
func worse(a, b swap.State) swap.State {
	order := []swap.State{swap.Unasked, swap.Running, swap.Away, swap.Fetching, swap.Waiting, swap.Failed}
	if slices.Index(order, b) > slices.Index(order, a) {
		return b
	}
	return a
}

// compareRunning puts what is wanted first, then what most Envoys run, and
// nothing last.
func compareRunning(a, b running) int {
	rank := func(r running) int {
		switch {
		case r.Wanted:
			return 0
		case r.Version != "":
			return 1
		}
		return 2
	}
	return cmp.Or(rank(a)-rank(b), b.Nodes-a.Nodes, strings.Compare(a.Version, b.Version))
}
