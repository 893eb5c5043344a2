package rollout_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/roster"
)

// TestReplicas plays several servers with one store at random: one leads and moves changes;
// the others follow what it has written, gradually, and report their Envoys to it. Servers
// die, are paused, are cut off from the leader, and lose the lead without noticing. No
// Envoy may be ahead of its wave on any of them.
func TestReplicas(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 100)
	}
	first, last := uint64(1), uint64(*seeds)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	sum := map[string]int{}
	for n := first; n <= last; n++ {
		w := &world{play: play{t: t, rng: rand.New(rand.NewPCG(n, 2)), loud: *seed != 0}, counted: sum}
		w.run()
		if w.broken != "" {
			t.Fatalf("seed %d: %s\nagain with: go test ./rollout -run TestReplicas -seed %d -v", n, w.broken, n)
		}
	}
	t.Log(sum)
	if *seed == 0 && *seeds >= 100 {
		for _, what := range []string{"begins:", "is on all Envoys", "stopped", "led", "deposed", "killed", "behind", "cut", "moved", "waited for others", "told early", "said again"} {
			if sum[what] == 0 {
				t.Errorf("nothing %s in %d histories: they don't test what they are for", what, *seeds)
			}
		}
	}
}

// world is a group of servers with one store. It uses the files, policies and time of a
// play.
type world struct {
	play
	counted map[string]int
	log     []map[string][]byte // batches in order
	term    int
	leader  int // the holder of the term; -1: none
	servers []*replica
	envoys  []*moving
}

// replica is a server.
type replica struct {
	*world
	n       int
	alive   bool
	paused  bool
	cut     bool // from the leader, not from the store
	leads   int  // the term that it believes to be its own; 0: none
	m       *rollout.Machine
	plan    *rollout.Plan
	other   bool // plan is of another machine
	wake    time.Time
	disk    disk
	at      int // how much of the log it has read
	files   []string
	queue   []*rollout.Batch
	own     *roster.Own
	all     *roster.All
	told    int // the term of the leader that knows its Envoys
	since   map[int]time.Time
	growing map[string]int
}

// moving is an Envoy that moves between servers.
type moving struct {
	definition.Node
	at    int       // -1: it isn't connected
	since time.Time // since when it is known
	left  time.Time // when it was last connected
	runs  rollout.Choice
	said  *rollout.Choice // to run, on its stream; it doesn't repeat this
}

func (w *world) run() {
	w.now, w.known = time.Unix(0, 0).UTC(), map[string]any{}
	w.leader = -1
	for i := range 2 + w.rng.IntN(8) {
		w.envoys = append(w.envoys, &moving{at: -1, Node: definition.Node{ID: fmt.Sprintf("e%d", i), Cluster: w.one("edge", "edge", "web"),
			Labels: map[string]string{"tier": w.one("canary", "main", "main", "main")}}})
	}
	w.files, w.policies = []string{"a=v0", "web:80=v0"}, w.randomPolicies()
	for i := range 3 {
		w.servers = append(w.servers, &replica{world: w, n: i, disk: disk{}})
		w.servers[i].start()
	}
	w.servers[0].lead()
	for range 150 + w.rng.IntN(300) {
		w.act()
		if w.look(); w.broken != "" {
			return
		}
	}
	w.end()
}

func (w *world) options() rollout.Options {
	return rollout.Options{Check: check, Broken: func(err error) { w.breaks("%v", err) }}
}

// start starts a server, as a follower.
func (r *replica) start() {
	r.alive, r.paused, r.cut, r.plan, r.own = true, false, false, nil, roster.NewOwn()
	r.follow()
}

// follow makes it a follower of what is written.
func (r *replica) follow() {
	r.leads, r.queue, r.all, r.told, r.growing = 0, nil, nil, 0, nil
	r.read(len(r.log))
	m, errs := rollout.Follow(r.options(), r.disk.copy())
	for _, err := range errs {
		r.breaks("follow: %v", err)
	}
	r.m, r.other = m, true
	r.files = r.world.files
	r.step(rollout.Wanted{Set: r.wanted(r.files)})
}

func (r *replica) read(to int) {
	for ; r.at < to; r.at++ {
		r.disk.apply(r.log[r.at])
	}
}

// lead makes it the leader, from what is written by then.
func (r *replica) lead() {
	r.term++
	r.leader, r.leads = r.n, r.term
	r.counted["led"]++
	r.logf("%d leads in term %d", r.n, r.term)
	r.read(len(r.log))
	m, errs := rollout.New(r.options(), r.disk.copy())
	for _, err := range errs {
		r.breaks("lead: %v", err)
	}
	r.m, r.other, r.queue, r.all, r.growing = m, true, nil, roster.NewAll(), map[string]int{}
	r.since = map[int]time.Time{}
	r.tellMissing()
	r.step(rollout.Wanted{Set: r.wanted(r.files)})
	r.own.Anew()
	r.hear(r)
	r.tellMissing()
}

// tellMissing tells the leader which servers to wait for.
func (r *replica) tellMissing() {
	missing := map[string]bool{}
	for _, o := range r.servers {
		id := fmt.Sprint(o.n)
		if !r.all.Heard(id) {
			missing[id] = o.alive && !o.paused
			if _, is := r.since[o.n]; !is || missing[id] {
				r.since[o.n] = r.now
			}
		} else {
			delete(r.since, o.n)
		}
	}
	r.step(rollout.Missing{Servers: missing})
}

// hear has the leader receive the reports of a server.
func (r *replica) hear(from *replica) {
	id := fmt.Sprint(from.n)
	for n := 0; from.own.Waits() && n < 5; n++ {
		t := from.own.Take()
		events, ok := r.all.Hear(r.now, id, t)
		if !ok {
			from.own.Anew()
			continue
		}
		for _, e := range events {
			if s, is := e.(rollout.Settled); is && r.plan != nil {
				for _, v := range r.envoys {
					if v.ID == s.ID && r.plan.Choose(v.Node) != s.Choice && from.plan.Choose(v.Node) == s.Choice {
						r.counted["told early"]++
					}
				}
			}
			r.step(e)
		}
		if from != r && r.rng.IntN(6) == 0 {
			return // the answer is lost
		}
		from.own.Taken(t.Seq)
	}
}

// step steps its machine.
func (r *replica) step(e rollout.Event) {
	if r.broken != "" {
		return
	}
	ready := r.m.Step(r.now, e)
	if r.loud {
		r.logf("%d: %T%+v", r.n, e, e)
	}
	for _, t := range ready.Told {
		r.logf("%d:     %s %s (%s): %s", r.n, t.Change, t.Title, t.State, t.Words)
		for _, what := range []string{"begins:", "is on all Envoys", "stopped"} {
			if strings.Contains(t.Words, what) {
				r.counted[what]++
			}
		}
	}
	r.wake = ready.Wake
	if ready.Plan != nil {
		r.give(ready.Plan)
	}
	if ready.Save != nil {
		if r.leads == 0 {
			r.breaks("%d follows, and writes", r.n)
		}
		r.waves(ready.Save)
		r.queue = append(r.queue, ready.Save)
	}
	if r.leads > 0 && len(r.m.Unheard()) > 0 {
		r.counted["waited for others"]++
	}
}

// give gives its Envoys a plan. They repeat what they run if they were to have something else
// in between.
func (r *replica) give(p *rollout.Plan) {
	if r.plan != nil && (r.other || !p.Follows(r.plan)) {
		for _, e := range r.envoys {
			if e.at == r.n && e.said != nil && *e.said == p.Choose(e.Node) {
				r.counted["said again"]++
				e.said = nil
			}
		}
	}
	r.plan, r.other = p, false
}

// waves checks the waves that a batch begins: all Envoys of the previous wave that the
// leader knows must run the change, and it must have heard from all servers.
func (r *replica) waves(b *rollout.Batch) {
	for key, value := range b.Values {
		id, is := strings.CutPrefix(key, "open/")
		if !is || value == nil {
			continue
		}
		var to struct {
			written
			Policy   *definition.Rollout
			Promoted bool
			Waves    []struct{ Began time.Time }
		}
		if err := json.Unmarshal(value, &to); err != nil {
			r.breaks("%v", err)
		}
		was := r.growing[id]
		if w := r.onDisk(id); was == 0 && w != nil {
			was = w.Wave
		}
		r.growing[id] = to.Wave
		if to.Wave <= was || to.Promoted || to.Policy == nil || was == 0 {
			continue
		}
		for n, since := range r.since {
			if n != r.n && r.now.Sub(since) < rollout.AwaitFor {
				r.breaks("%d begins wave %d of %s, and has not heard of %d", r.n, to.Wave, id, n)
			}
		}
		from := r.onDisk(id)
		if from == nil || len(to.Waves) < was {
			continue
		}
		for _, e := range r.envoys {
			if e.at < 0 || e.runs.Has(id) || !r.servers[e.at].heard(r) {
				continue
			}
			may := rollout.PlaceOf(e.ID) <= from.Reached.UpTo || slices.Contains(from.Reached.IDs, e.ID)
			if may && r.plan.Choose(e.Node).Has(id) && e.since.Before(to.Waves[was-1].Began) {
				r.breaks("%d begins wave %d of %s, and %s at %d does not run it", r.n, to.Wave, id, e.ID, e.at)
			}
		}
	}
}

// heard reports whether all reports of its Envoys have reached a leader.
func (r *replica) heard(by *replica) bool {
	return by.all.Heard(fmt.Sprint(r.n)) && !r.own.Waits()
}

// onDisk returns a change as the server's disk has it.
func (r *replica) onDisk(id string) *written {
	w := &written{}
	if b := r.disk["open/"+id]; len(b) == 0 || json.Unmarshal(b, w) != nil {
		return nil
	}
	return w
}

// write does some of the pending writes if it is the leader.
func (r *replica) write(n int) {
	for ; n > 0 && len(r.queue) > 0; n-- {
		if r.leader != r.n || r.leads != r.term {
			r.counted["deposed"]++
			r.logf("%d is deposed", r.n)
			r.follow()
			r.introduce()
			return
		}
		b := r.queue[0]
		r.queue = r.queue[1:]
		r.log = append(r.log, b.Values)
		r.read(len(r.log))
		if r.rng.IntN(3) == 0 { // others see it before the writer knows
			for _, o := range r.servers {
				if o.n != r.n {
					o.catchUp(len(r.log))
					o.settleSome()
					o.tell()
				}
			}
		}
		r.step(rollout.Saved{Seq: b.Seq})
	}
}

// introduce tells a follower which Envoys it has.
func (r *replica) introduce() {
	for _, e := range r.envoys {
		if e.at == r.n {
			r.step(rollout.Connected{Node: e.Node})
		}
	}
}

// catchUp has a follower read the log up to there.
func (r *replica) catchUp(to int) {
	if r.alive && !r.paused && r.leads == 0 && r.at < to {
		r.read(to)
		r.step(rollout.Rewritten{Values: r.disk.copy()})
	}
}

// tell has a server report its Envoys to the leader.
func (r *replica) tell() {
	if !r.alive || r.paused || r.leader < 0 {
		return
	}
	l := r.servers[r.leader]
	if l.leads != r.term || l.paused || r.n != l.n && (r.cut || r.leads > 0) {
		return
	}
	if r.told != r.term {
		r.told = r.term
		r.own.Anew()
	}
	l.hear(r)
	l.tellMissing()
}

// observe has its streams report an event of an Envoy.
func (r *replica) observe(e rollout.Event) {
	r.own.Tell(e)
	if r.leads > 0 {
		if r.leads == r.term {
			r.hear(r)
		} else {
			for _, e := range r.ownEvents() {
				r.step(e)
			}
		}
		return
	}
	r.step(e)
}

// ownEvents returns pending events of its own Envoys, for a leader that is deposed without
// noticing.
func (r *replica) ownEvents() []rollout.Event {
	var all []rollout.Event
	for range 3 {
		if !r.own.Waits() {
			break
		}
		t := r.own.Take()
		events, ok := r.all.Hear(r.now, fmt.Sprint(r.n), t)
		if !ok {
			r.own.Anew()
			continue
		}
		r.own.Taken(t.Seq)
		all = append(all, events...)
	}
	return all
}

func (r *replica) settleSome() {
	for _, e := range r.envoys {
		if e.at == r.n && r.rng.IntN(2) == 0 {
			r.settle(e)
		}
	}
}

// settle has an Envoy run what its server has for it.
func (r *replica) settle(e *moving) {
	if r.plan == nil || r.paused || !r.alive {
		return
	}
	e.runs = r.plan.Choose(e.Node)
	if e.said == nil || *e.said != e.runs {
		choice := e.runs
		e.said = &choice
		r.observe(rollout.Settled{ID: e.ID, Choice: e.runs})
	}
}

func (w *world) someone() *replica { return w.servers[w.rng.IntN(len(w.servers))] }

// connect connects an Envoy to another live server.
func (w *world) connect(e *moving) {
	to := w.someone()
	if !to.alive || to.paused || to.n == e.at {
		return
	}
	was := e.at
	if was >= 0 {
		w.counted["moved"]++
	}
	if e.since.IsZero() || was < 0 && w.now.Sub(e.left) >= rollout.AwaitFor {
		e.since = w.now
	}
	gone := func() {
		if was >= 0 && w.servers[was].alive {
			w.servers[was].observe(rollout.Gone{ID: e.ID})
		}
	}
	e.at, e.said = to.n, nil
	if w.rng.IntN(2) == 0 {
		gone()
		to.observe(rollout.Connected{Node: e.Node})
	} else {
		to.observe(rollout.Connected{Node: e.Node})
		gone()
	}
	if e.runs == "" || to.plan != nil && to.plan.Choose(e.Node) == e.runs {
		to.settle(e)
	}
}

// elect makes another server the leader, whatever the previous one believes.
func (w *world) elect() {
	for range 10 {
		if r := w.someone(); r.alive && !r.paused {
			if r.leads > 0 { // and doesn't notice that it no longer does
				r.follow()
				r.introduce()
			}
			r.lead()
			return
		}
	}
}

func (w *world) act() {
	e := w.envoys[w.rng.IntN(len(w.envoys))]
	r := w.someone()
	switch n := w.rng.IntN(100); {
	case n < 8:
		w.changeFiles()
	case n < 14:
		if r.alive && !r.paused {
			r.files = w.play.files
			r.step(rollout.Wanted{Set: w.wanted(r.files)})
		}
	case n < 24:
		w.connect(e)
	case n < 44:
		if e.at >= 0 {
			w.servers[e.at].settle(e)
		}
	case n < 47:
		if e.at >= 0 && w.servers[e.at].alive && !w.servers[e.at].paused {
			was := e.at
			e.at, e.left = -1, w.now
			w.servers[was].observe(rollout.Gone{ID: e.ID})
		}
	case n < 49:
		if e.at >= 0 && !w.servers[e.at].paused {
			e.runs, e.said, e.since = "", nil, w.now
			w.servers[e.at].observe(rollout.Restarted{ID: e.ID})
		}
	case n < 50:
		if e.at >= 0 && !w.servers[e.at].paused {
			w.servers[e.at].observe(rollout.Crashed{ID: e.ID, Filter: "a"})
		}
	case n < 60:
		r.tell()
	case n < 68:
		w.counted["behind"]++
		r.catchUp(r.at + w.rng.IntN(len(w.log)-r.at+1))
	case n < 80:
		if r.alive && !r.paused && r.leads > 0 {
			r.write(1 + w.rng.IntN(3))
		}
	case n < 83:
		w.counted["cut"]++
		r.cut = !r.cut
		if l := w.leader; l >= 0 && r.cut && w.servers[l].leads == w.term && r.n != l {
			w.servers[l].lose(r)
		}
	case n < 91:
		w.pass(time.Duration(w.rng.IntN(90)) * time.Second)
	case n < 93:
		if l := w.leader; l >= 0 && w.servers[l].leads == w.term && !w.servers[l].paused {
			w.command(w.servers[l])
		}
	case n < 94:
		w.startAgain()
	case n < 95:
		w.kill(r)
	case n < 97:
		r.paused = !r.paused && r.alive
		if r.paused && r.n == w.leader {
			w.leader = -1
		}
	}
	if w.leader < 0 {
		w.elect()
	}
}

// lose has the leader notice that it no longer hears from a server.
func (r *replica) lose(o *replica) {
	gone := r.all.Lose(r.now, fmt.Sprint(o.n))
	o.told = 0
	r.tellMissing()
	for _, e := range gone {
		r.step(e)
	}
}

func (w *world) kill(r *replica) {
	if !r.alive {
		r.start()
		return
	}
	w.counted["killed"]++
	w.logf("%d is killed", r.n)
	r.alive, r.leads, r.paused = false, 0, false
	for _, e := range w.envoys {
		if e.at == r.n {
			e.at, e.left = -1, w.now
		}
	}
	if w.leader == r.n {
		w.leader = -1
	} else if w.leader >= 0 && w.servers[w.leader].leads == w.term {
		w.servers[w.leader].lose(r)
	}
}

func (w *world) command(r *replica) {
	changes, _ := r.m.Briefs()
	if len(changes) == 0 {
		return
	}
	verbs := rollout.Verbs()
	r.step(rollout.Command{Verb: verbs[w.rng.IntN(len(verbs))], ID: changes[w.rng.IntN(min(len(changes), 5))].ID, AtOnce: w.rng.IntN(2) == 0})
}

// startAgain stops and resumes a change, so quickly that followers may not read of the stop.
func (w *world) startAgain() {
	if w.leader < 0 {
		return
	}
	l := w.servers[w.leader]
	changes, _ := l.m.Briefs()
	if l.leads != w.term || l.paused || len(changes) == 0 {
		return
	}
	id := changes[w.rng.IntN(min(len(changes), 5))].ID
	for _, verb := range []rollout.Verb{rollout.Stop, rollout.Resume} {
		l.step(rollout.Command{Verb: verb, ID: id})
	}
	l.write(len(l.queue))
}

func (w *world) changeFiles() {
	for range 20 {
		next := w.edit(slices.Clone(w.play.files))
		if len(check(w.wanted(next))) == 0 && !slices.ContainsFunc(next, func(f string) bool { return strings.HasSuffix(f, "=none") }) {
			w.play.files = next
			return
		}
	}
}

// pass advances time for all.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for w.broken == "" {
		var next *replica
		for _, r := range w.servers {
			if r.alive && !r.paused && r.wake.After(w.now) && !r.wake.After(end) && (next == nil || r.wake.Before(next.wake)) {
				next = r
			}
		}
		if next == nil {
			break
		}
		w.now = next.wake
		next.step(rollout.Tick{})
	}
	w.now = end
	for _, r := range w.servers {
		if r.alive && !r.paused {
			if r.leads > 0 {
				r.tellMissing()
			}
			r.step(rollout.Tick{})
		}
	}
}

// look checks that no server has an Envoy ahead of what it knows to be written.
func (w *world) look() {
	for _, r := range w.servers {
		if !r.alive || r.plan == nil {
			continue
		}
		for _, e := range w.envoys {
			for _, id := range r.plan.Choose(e.Node).IDs() {
				on := r.onDisk(id)
				if on == nil {
					w.breaks("%s has %s on %d, which is not written", e.ID, id, r.n)
					continue
				}
				may := rollout.PlaceOf(e.ID) <= on.Reached.UpTo || slices.Contains(on.Reached.IDs, e.ID)
				for _, l := range on.Reached.Labels {
					may = may || e.Labels["tier"] == l["tier"]
				}
				if !may {
					w.breaks("%s has %s on %d, and is not written down as reached", e.ID, id, r.n)
				}
			}
		}
	}
}

// end ends all faults: every change must end in the base, and all servers must agree.
func (w *world) end() {
	w.logf("faults end")
	w.policies, w.holes = nil, nil
	for _, r := range w.servers {
		if !r.alive {
			r.start()
		}
		r.paused, r.cut = false, false
	}
	for w.leader < 0 {
		w.elect()
	}
	l := w.servers[w.leader]
	if l.leads != w.term {
		w.breaks("%d has the term, and does not lead", l.n)
		return
	}
	for _, r := range w.servers {
		if r != l && r.leads > 0 {
			r.follow()
			r.introduce()
		}
		r.files = w.play.files
		r.step(rollout.Wanted{Set: w.wanted(r.files)})
	}
	w.envoys = append(w.envoys, &moving{at: -1, Node: definition.Node{ID: "last", Cluster: "edge", Labels: map[string]string{"tier": "canary"}}})
	for _, e := range w.envoys {
		for e.at < 0 {
			w.connect(e)
		}
	}
	for range 400 {
		for _, r := range w.servers {
			r.catchUp(len(w.log))
			for _, e := range w.envoys {
				if e.at == r.n {
					r.settle(e)
				}
			}
			r.tell()
		}
		changes, held := l.m.Briefs()
		for _, c := range changes {
			if c.State == rollout.Paused || c.State == rollout.Stopped {
				l.step(rollout.Command{Verb: rollout.Resume, ID: c.ID})
			}
			if c.State == rollout.Rolling {
				l.step(lookOf(l.m, c.ID, "prometheus 1").Answer(rollout.Good, ""))
			}
		}
		slices.Sort(held)
		for _, id := range held {
			l.step(rollout.Command{Verb: rollout.Resume, ID: id})
		}
		l.write(len(l.queue))
		w.pass(15 * time.Second)
		l.write(len(l.queue))
		if w.broken != "" || l.m.Unfinished() == nil && len(l.queue) == 0 {
			break
		}
	}
	if err := l.m.Unfinished(); err != nil {
		w.breaks("in the end: %v; it waits for %v", err, l.m.Unheard())
		return
	}
	for _, r := range w.servers {
		r.catchUp(len(w.log))
		if r.plan == nil {
			w.breaks("in the end there is no plan on %d", r.n)
			return
		}
		have, want := wordsOf(r.plan.Base), wordsOf(w.wanted(w.play.files))
		if !slices.Equal(have, want) {
			w.breaks("in the end the base on %d is %v, and the files say %v", r.n, have, want)
		}
		for _, e := range w.envoys {
			if c := r.plan.Choose(e.Node); c != "" {
				w.breaks("in the end %s has %s on %d", e.ID, c, r.n)
			}
		}
	}
	if !maps.EqualFunc(w.servers[0].disk, w.servers[1].disk, slices.Equal[[]byte]) {
		w.breaks("in the end the servers have read different things")
	}
}
