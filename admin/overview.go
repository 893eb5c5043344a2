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

// overview is a summary of the whole fleet, with a row for each Envoy. It is
// immutable.
type overview struct {
	At       time.Time
	Status   Status // without nodes
	Envoys   int    // number of connected Envoys
	Good     int    // number of those that run everything that is wanted
	States   map[swap.State]int
	Nodes    []envoyRow           // all known Envoys, by id
	Labels   []string             // keys of labels, the first few
	Versions map[string][]running // by filter name
	Refused  map[ofFilter]refused // by filter and version
	Troubles []*trouble           // the worst first
	LastSeen time.Time            // of Envoys that are gone
	digest   uint64               // of everything that is shown
	of       generation
	until    time.Time // how long it may be shown although there is a newer generation
}

// Gone is the state of an Envoy that is away and no longer awaited.
const Gone swap.State = "gone"

// envoyRow is an Envoy in the list.
type envoyRow struct {
	ID, Cluster, Version string
	Labels               map[string]string
	State                swap.State // worst state of anything on it
	Worst                string     // filter or listener in that state; "": none
	More                 int        // number of others that are not as wanted
	Draining             bool       // older connections use a listener that was replaced
	Since                time.Time  // when it connected, or was last seen
}

// running is the number of Envoys that run a version of a filter.
type running struct {
	Version string // "": no version runs
	Wanted  bool
	Nodes   int
}

// ofFilter identifies a version of a filter.
type ofFilter struct{ Filter, Version string }

// trouble is why Envoys do not run the wanted version of one filter or
// listener, or what has happened to it. It combines all Envoys with the same
// state.
type trouble struct {
	cause
	Reasons []reasonCount
	Since   time.Time // when the first one began; zero: not known
	Nodes   []string  // ids of the first ones
	Count   int
	nodes   uint64 // sum of hashes of all ids
}

type cause struct {
	Filter, Listener string // one of them is set
	State            swap.State
	Refused          bool
}

// crashed is the state of a trouble whose filter runs, but has crashed.
const crashed swap.State = "crashed"

// reasonCount is a reason, with the number of Envoys.
type reasonCount struct {
	Text  string // without the version that keeps running
	Count int
	Node  string // id of one of the Envoys
	Whole string // that Envoy's own message
}

// Bounds of a trouble.
const (
	shownNodes   = 12
	shownReasons = 3
	keptReasons  = 64
	maxLabelKeys = 12
)

// overviews computes overviews, one at a time, and only after changes, so that
// many viewers cost no more than one. While a large fleet is continuously
// changing, this takes at most a twentieth of a processor.
type overviews struct {
	seed maphash.Seed // for digests
	mu   sync.Mutex
	last *overview
}

const (
	fresh     = 250 * time.Millisecond // minimum interval
	lookShare = 20                     // minimum interval, as a multiple of the time that the last one took
	stale     = 3 * time.Second        // maximum interval
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

// look computes an overview.
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

// take copies the counts into the overview, sorted.
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

// behind records that something is not as wanted.
func (r *envoyRow) behind(name string, state swap.State) {
	if r.Worst != "" {
		r.More++
	}
	if next := worse(r.State, state); next != r.State {
		r.State, r.Worst = next, name
	}
}

// census has the counts while an overview is computed.
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
	reason, _, _ = strings.Cut(whole, "; it keeps running ") // this version may differ on each Envoy
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

// reason returns the most frequent reason.
func (t *trouble) reason() reasonCount {
	if len(t.Reasons) == 0 {
		return reasonCount{Node: t.Nodes[0]}
	}
	return t.Reasons[0]
}

// bySeverity has all states, the worst last.
var bySeverity = []swap.State{Gone, swap.Unasked, swap.Unplaced, swap.Running, swap.Away, swap.Fetching, swap.Waiting, crashed, swap.Failed}

func severity(s swap.State) int { return slices.Index(bySeverity, s) }

// worse returns the more severe state.
func worse(a, b swap.State) swap.State {
	if severity(b) > severity(a) {
		return b
	}
	return a
}

// earlier returns the earlier of two times, ignoring zero.
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

// compareRunning sorts wanted versions first, then others by the number of
// Envoys, and no version last.
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
