package admin

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// overview is the whole fleet in figures, and each of its Envoys in short.
// Immutable.
type overview struct {
	At       time.Time
	Status   Status // without nodes
	Envoys   int    // that are connected
	Good     int    // of them: those that run all that is wanted
	States   map[swap.State]int
	Nodes    []envoyRow           // all that are known, by id
	Labels   []string             // keys of labels that there are, the first few
	Versions map[string][]running // by filter name
	Refused  map[ofFilter]refused // by filter and version
	Troubles []*trouble           // the worst first
	LastSeen time.Time            // of those that are gone
	digest   uint64               // of all that is shown
	of       generation
	until    time.Time // it may be shown so long, though there is a newer generation
}

// Gone is the state of an Envoy that is away and not waited for any more.
const Gone swap.State = "gone"

// envoyRow is an Envoy in the list.
type envoyRow struct {
	ID, Cluster, Version string
	Labels               map[string]string
	State                swap.State // the worst of what it has
	Worst                string     // the filter, or listener, that is in it; "": none
	More                 int        // others that are not as wanted
	Draining             bool       // older connections go on with a listener as it was
	Since                time.Time  // when it came, or was seen last
}

// running is how many Envoys run a version of a filter.
type running struct {
	Version string // "": none runs
	Wanted  bool
	Nodes   int
}

// ofFilter is a version of a filter.
type ofFilter struct{ Filter, Version string }

// trouble is why Envoys do not run what is wanted of one filter or listener, or
// what has happened to it: all that are in the same state.
type trouble struct {
	cause
	Reasons []reasonCount
	Since   time.Time // when the first of it began; zero: not known
	Nodes   []string  // the first of them
	Count   int
	nodes   uint64 // sum of their hashes
}

type cause struct {
	Filter, Listener string // one of them
	State            swap.State
	Refused          bool
}

// crashed is the state of a trouble whose filter runs, and has crashed.
const crashed swap.State = "crashed"

// reasonCount is a reason, and of how many Envoys.
type reasonCount struct {
	Text  string // without what the Envoy goes on with
	Count int
	Node  string // one of them
	Whole string // what that one says
}

// What is kept of a trouble.
const (
	shownNodes   = 12
	shownReasons = 3
	keptReasons  = 64
	maxLabelKeys = 12
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
	o := &overview{At: now, Status: s.statusOf(v), States: map[swap.State]int{}, Refused: map[ofFilter]refused{}}
	c := census{seed: v.overviews.seed, versions: map[string]map[running]int{}, troubles: map[cause]*trouble{}}
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
	for of, by := range o.Refused {
		s.history.refuse(of.Filter, of.Version, by)
	}
	digest.document(o.Status)
	digest.add(strconv.FormatBool(s.draining.Load()))
	o.digest = digest.Sum64()
	return o
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
	o.Troubles = c.sorted()
}

// add counts one Envoy.
func (o *overview) add(n *xds.NodeStatus, c *census) {
	row := envoyRow{ID: n.ID, Cluster: n.Cluster, Version: n.Version, Labels: n.Labels, State: swap.Running, Since: n.ConnectedSince}
	for k := range n.Labels {
		if len(o.Labels) < maxLabelKeys && !slices.Contains(o.Labels, k) {
			o.Labels = append(o.Labels, k)
			slices.Sort(o.Labels)
		}
	}
	if !n.AwaySince.IsZero() {
		row.State, row.Since = swap.Away, n.AwaySince
		if !n.Awaited {
			row.State = Gone
			o.LastSeen = later(o.LastSeen, n.AwaySince)
		}
		o.count(row)
		return
	}
	for _, f := range n.Filters {
		row.Draining = row.Draining || f.Draining != nil
		if f.Crashes != nil {
			c.trouble(n.ID, cause{Filter: f.Name, State: crashed}, crashWords(f.Crashes), f.Crashes.Last)
		}
		if f.State == swap.Unasked || f.State == swap.Unplaced {
			continue
		}
		if c.versions[f.Name] == nil {
			c.versions[f.Name] = map[running]int{}
		}
		c.versions[f.Name][running{Version: f.Running, Wanted: f.State == swap.Running}]++
		if f.State != swap.Running {
			row.behind(f.Name, f.State)
			if f.Refused {
				of := ofFilter{f.Name, f.Wanted}
				o.Refused[of] = refused{o.Refused[of].Envoys + 1, cmp.Or(o.Refused[of].Reason, f.Reason)}
			}
			c.trouble(n.ID, cause{Filter: f.Name, State: f.State, Refused: f.Refused}, f.Reason, f.WantedSince)
		}
	}
	for _, l := range n.Listeners {
		row.Draining = row.Draining || l.Draining != nil
		if behind(&l) {
			row.behind("listener "+l.Name, swap.Waiting)
			c.trouble(n.ID, cause{Listener: l.Name, State: swap.Waiting}, l.Reason, time.Time{})
		}
	}
	o.Envoys++
	if row.State == swap.Running {
		o.Good++
	}
	o.count(row)
}

func (o *overview) count(row envoyRow) {
	o.States[row.State]++
	o.Nodes = append(o.Nodes, row)
}

// behind notes that something is not as wanted.
func (r *envoyRow) behind(name string, state swap.State) {
	if r.Worst != "" {
		r.More++
	}
	if next := worse(r.State, state); next != r.State {
		r.State, r.Worst = next, name
	}
}

// census is what is counted on the way through the fleet.
type census struct {
	seed     maphash.Seed
	versions map[string]map[running]int // by filter name
	troubles map[cause]*trouble
}

func (c *census) trouble(node string, why cause, reason string, since time.Time) {
	t := c.troubles[why]
	if t == nil {
		t = &trouble{cause: why}
		c.troubles[why] = t
	}
	t.Count++
	t.nodes += maphash.String(c.seed, node)
	t.Since = earlier(t.Since, since)
	if len(t.Nodes) < shownNodes {
		t.Nodes = append(t.Nodes, node)
	}
	whole := reason
	reason, _, _ = strings.Cut(whole, "; it keeps running ") // which may be another version on each
	for i := range t.Reasons {
		if t.Reasons[i].Text == reason {
			t.Reasons[i].Count++
			return
		}
	}
	if len(t.Reasons) < keptReasons && reason != "" {
		t.Reasons = append(t.Reasons, reasonCount{reason, 1, node, whole})
	}
}

func (c *census) sorted() []*trouble {
	all := make([]*trouble, 0, len(c.troubles))
	for _, t := range c.troubles {
		slices.SortStableFunc(t.Reasons, func(a, b reasonCount) int { return b.Count - a.Count })
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b *trouble) int {
		return cmp.Or(severity(b.State)-severity(a.State), b.Count-a.Count, strings.Compare(a.Filter+a.Listener, b.Filter+b.Listener), strings.Compare(string(a.State), string(b.State)))
	})
	return all
}

// reason is the one of most Envoys.
func (t *trouble) reason() reasonCount {
	if len(t.Reasons) == 0 {
		return reasonCount{Node: t.Nodes[0]}
	}
	return t.Reasons[0]
}

// bySeverity has all states, the worst last.
var bySeverity = []swap.State{Gone, swap.Unasked, swap.Unplaced, swap.Running, swap.Away, swap.Fetching, swap.Waiting, crashed, swap.Failed}

func severity(s swap.State) int { return slices.Index(bySeverity, s) }

// worse is the state that needs a look sooner.
func worse(a, b swap.State) swap.State {
	if severity(b) > severity(a) {
		return b
	}
	return a
}

// earlier is the first of two times, as far as they are known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
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
