package rollout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
)

var (
	seeds = flag.Int("seeds", 300, "histories to play")
	seed  = flag.Uint64("seed", 0, "play this one only, and tell it")
)

// TestRandom plays random histories: changes that arrive, are superseded, withdrawn and
// joined; Envoys that join, leave, restart, reject and crash; servers that die, with some
// of their writes not done; a store that is away; commands. It checks each step against the
// invariants. Then the faults end, and every change must end in the base.
func TestRandom(t *testing.T) {
	if testing.Short() {
		*seeds = min(*seeds, 100)
	}
	first, last := uint64(1), uint64(*seeds)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	var sum tally
	for n := first; n <= last; n++ {
		p := &play{t: t, rng: rand.New(rand.NewPCG(n, 1)), loud: *seed != 0}
		p.run()
		if p.broken != "" {
			t.Fatalf("seed %d: %s\nagain with: go test ./rollout -run TestRandom -seed %d -v", n, p.broken, n)
		}
		sum.add(p.tally)
	}
	t.Logf("%+v", sum)
	if *seed == 0 && *seeds >= 100 {
		for what, n := range map[string]int{"waves": sum.Waves, "joins": sum.Joins, "stops": sum.Stops, "kills": sum.Kills, "lost batches": sum.Lost, "combinations": sum.Combined,
			"waits for others": sum.Needs, "merges": sum.Merges, "rollbacks": sum.Rollbacks, "superseded": sum.Superseded, "waves watched on": sum.Resumed} {
			if n == 0 {
				t.Errorf("no %s in %d histories: they don't test what they are for", what, *seeds)
			}
		}
	}
}

// tally counts what has happened.
type tally struct {
	Steps, Waves, Joins, Stops, Kills, Lost, Combined, Needs, Merges, Rollbacks, Superseded, Resumed int
}

func (t *tally) add(o tally) {
	t.Steps += o.Steps
	t.Waves += o.Waves
	t.Joins += o.Joins
	t.Stops += o.Stops
	t.Kills += o.Kills
	t.Lost += o.Lost
	t.Combined += o.Combined
	t.Needs += o.Needs
	t.Merges += o.Merges
	t.Rollbacks += o.Rollbacks
	t.Superseded += o.Superseded
	t.Resumed += o.Resumed
}

type play struct {
	t      *testing.T
	rng    *rand.Rand
	loud   bool
	broken string
	tally  tally

	o     rollout.Options
	m     *rollout.Machine
	plan  *rollout.Plan
	now   time.Time
	wake  time.Time
	disk  disk
	read  map[*byte]*written
	queue []*rollout.Batch
	away  bool

	watched  map[watchedWave]bool // waves whose Envoys are observed
	files    []string
	known    map[string]any
	policies []*definition.Rollout
	holes    []*definition.Hole
	nodes    map[string]*envoy
}

type watchedWave struct {
	change string
	wave   int
}

// envoy is the state of an Envoy.
type envoy struct {
	definition.Node
	there bool
	told  rollout.Choice // that it has reported to run
	known bool           // to the current server
}

func (p *play) logf(format string, args ...any) {
	if p.loud {
		p.t.Logf("%s "+format, append([]any{p.now.Format("04:05")}, args...)...)
	}
}

func (p *play) breaks(format string, args ...any) {
	if p.broken == "" {
		p.broken = fmt.Sprintf(format, args...)
		p.logf("BROKEN %s", p.broken)
	}
}

func (p *play) one(of ...string) string { return of[p.rng.IntN(len(of))] }

func (p *play) run() {
	p.now, p.disk, p.known, p.nodes = time.Unix(0, 0).UTC(), disk{}, map[string]any{}, map[string]*envoy{}
	p.o = rollout.Options{Check: check, Signals: p.rng.IntN(2) == 0, Before: time.Duration(p.rng.IntN(2)*5) * time.Second,
		Broken: func(err error) { p.breaks("%v", err) }}
	for i := range 2 + p.rng.IntN(12) {
		n := definition.Node{ID: fmt.Sprintf("e%d", i), Cluster: p.one("edge", "edge", "web"), Labels: map[string]string{"tier": p.one("canary", "main", "main", "main")}}
		p.nodes[n.ID] = &envoy{Node: n}
	}
	p.files = []string{"a=v0", "web:80=v0"}
	p.policies = p.randomPolicies()
	p.start()
	p.want()
	for range 60 + p.rng.IntN(200) {
		p.act()
		if p.broken != "" {
			return
		}
	}
	p.end()
}

func (p *play) start() {
	m, errs := rollout.New(p.o, p.disk.copy())
	for _, err := range errs {
		p.breaks("restore: %v", err)
	}
	p.m, p.plan, p.queue, p.wake, p.watched = m, nil, nil, time.Time{}, map[watchedWave]bool{}
}

func (p *play) randomPolicies() []*definition.Rollout {
	var all []*definition.Rollout
	for i := range p.rng.IntN(3) {
		waves := p.one("1,100%", "tier:canary,100%", "tier:canary,1,30%,100%", "1,3,50%,100%", "100%", "10%,60%,100%")
		words := []string{fmt.Sprintf("p%d", i), "waves=" + waves, "bake=" + p.one("0s", "10s", "1m"), "then=" + p.one("rollback", "rollback", "pause"), "noTraffic=" + p.one("wait", "go-on")}
		if p.rng.IntN(3) > 0 {
			words = append(words, "for="+p.one("a", "web", "b,c", "*"))
		}
		if p.rng.IntN(5) == 0 {
			words = append(words, "ask=x")
		}
		all = append(all, policyOf(words))
	}
	return all
}

// step steps, and does what results.
func (p *play) step(e rollout.Event) {
	if p.broken != "" {
		return
	}
	p.tally.Steps++
	ready := p.m.Step(p.now, e)
	if _, saved := e.(rollout.Saved); !saved {
		p.logf("%T%+v", e, e)
	}
	for _, t := range ready.Told {
		p.logf("    %s %s (%s): %s", t.Change, t.Title, t.State, t.Words)
		p.count(t)
	}
	if ready.Err != nil {
		p.logf("    error: %v", ready.Err)
	}
	p.wake = ready.Wake
	if ready.Plan != nil {
		p.plan = ready.Plan
	}
	p.look()
	for _, w := range ready.Watch {
		of := watchedWave{w.Change, w.Wave}
		if p.watched[of] = true; w.Phase == rollout.After {
			delete(p.watched, of)
		}
		defer p.watch(w)
	}
	if ready.Save != nil {
		p.queue = append(p.queue, ready.Save)
		if !p.away && p.rng.IntN(4) > 0 {
			p.write(len(p.queue))
		}
	}
}

// watch saves the samples from before a wave, and compares what is known of a wave that
// began with another server.
func (p *play) watch(w rollout.Watch) {
	told := fmt.Sprintf("%s %d of %v and %v since %v", w.Change, w.Wave, w.New, w.Control, w.ControlSince.UTC())
	switch {
	case w.Phase != rollout.During:
	case w.Told == nil && p.rng.IntN(4) > 0:
		p.step(rollout.ToldBefore{Watch: w, Told: []byte(told)})
	case w.Told != nil:
		p.tally.Resumed++
		if string(w.Told) != told {
			p.breaks("%q is watched on, and was %q", told, w.Told)
		}
	}
}

func (p *play) count(t rollout.Told) {
	for what, n := range map[string]*int{"begins:": &p.tally.Waves, "is on all Envoys": &p.tally.Joins, "stopped": &p.tally.Stops, "without which": &p.tally.Needs,
		"become one change": &p.tally.Merges, "rolled back": &p.tally.Rollbacks, "have changed again": &p.tally.Superseded} {
		if strings.Contains(t.Words, what) {
			*n++
		}
	}
}

// write does some of the pending writes, in order.
func (p *play) write(n int) {
	for range n {
		if len(p.queue) == 0 {
			return
		}
		b := p.queue[0]
		p.queue = p.queue[1:]
		p.disk.apply(b.Values)
		p.step(rollout.Saved{Seq: b.Seq})
	}
}

// written is an open change on disk, decoded independently of the machine.
type written struct {
	State   rollout.State
	Wave    int
	Reached struct {
		Labels []map[string]string
		IDs    []string
		UpTo   uint64
	}
}

// onDisk returns an open change as written, or nil.
func (p *play) onDisk(id string) *written {
	b := p.disk["open/"+id]
	if len(b) == 0 {
		return nil
	}
	if p.read == nil {
		p.read = map[*byte]*written{}
	}
	if p.read[&b[0]] == nil {
		w := &written{}
		if err := json.Unmarshal(b, w); err != nil {
			p.breaks("%v", err)
		}
		p.read[&b[0]] = w
	}
	return p.read[&b[0]]
}

// look checks that each Envoy has only what is written and allowed for it, and that it gets
// the base with that.
func (p *play) look() {
	if p.plan == nil {
		return
	}
	for _, e := range p.nodes {
		choice := p.plan.Choose(e.Node)
		if len(choice.IDs()) > 1 {
			p.tally.Combined++
		}
		if choice != "" && p.plan.Sets[choice] == nil && e.known {
			p.breaks("%s has %s, which is not in the plan", e.ID, choice)
		}
		for _, id := range choice.IDs() {
			w := p.onDisk(id)
			if w == nil {
				p.breaks("%s has %s, which is not written down", e.ID, id)
				continue
			}
			at := rollout.PlaceOf(e.ID)
			may := at <= w.Reached.UpTo || slices.Contains(w.Reached.IDs, e.ID)
			for _, l := range w.Reached.Labels {
				may = may || e.Labels["tier"] == l["tier"]
			}
			if !may {
				p.breaks("%s has %s, and is not written down as reached", e.ID, id)
			}
		}
	}
}

// act does one random thing.
func (p *play) act() {
	switch n := p.rng.IntN(100); {
	case n < 12:
		p.change()
	case n < 24:
		p.connect()
	case n < 52:
		p.settle(p.anyone())
	case n < 56:
		p.leave(p.anyone())
	case n < 60:
		if e := p.anyone(); e != nil {
			e.told = ""
			p.step(rollout.Restarted{ID: e.ID})
		}
	case n < 62:
		if e := p.anyone(); e != nil {
			p.step(rollout.Crashed{ID: e.ID, Filter: "a"})
		}
	case n < 64:
		if e := p.anyone(); e != nil && p.plan != nil {
			p.step(rollout.Refused{ID: e.ID, Choice: p.plan.Choose(e.Node), Key: rollout.Key{Kind: p.one("filter", "listener"), Name: p.one("a", "web")}, Message: "no"})
		}
	case n < 74:
		p.judge(false)
	case n < 79:
		p.pass(time.Duration(p.rng.IntN(90)) * time.Second)
	case n < 81:
		p.pass(time.Duration(p.rng.IntN(200)) * time.Second)
	case n < 85:
		p.command()
	case n < 89:
		p.away = !p.away
		if !p.away {
			p.write(len(p.queue))
		}
	case n < 92:
		p.write(1 + p.rng.IntN(2))
	case n < 95:
		p.kill()
	case n < 97:
		p.replica()
	default:
		p.policies, p.holes = p.randomPolicies(), nil
		if p.rng.IntN(3) == 0 {
			p.holes = []*definition.Hole{{Kind: "Rollout", Name: p.one("", "p0", "p9")}}
		}
		p.want()
	}
}

// anyone returns a connected Envoy, or nil.
func (p *play) anyone() *envoy {
	var there []*envoy
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		if p.nodes[id].there {
			there = append(there, p.nodes[id])
		}
	}
	if len(there) == 0 {
		return nil
	}
	return there[p.rng.IntN(len(there))]
}

func (p *play) connect() {
	ids := slices.Sorted(maps.Keys(p.nodes))
	e := p.nodes[ids[p.rng.IntN(len(ids))]]
	e.there, e.known = true, true
	p.step(rollout.Connected{Node: e.Node})
}

func (p *play) leave(e *envoy) {
	if e != nil {
		e.there = false
		p.step(rollout.Gone{ID: e.ID})
	}
}

// settle has an Envoy report that it runs what it should, or what it should have run a
// moment ago.
func (p *play) settle(e *envoy) {
	if e == nil || p.plan == nil {
		return
	}
	if p.rng.IntN(8) > 0 {
		e.told = p.plan.Choose(e.Node)
	}
	p.step(rollout.Settled{ID: e.ID, Choice: e.told})
}

func (p *play) judge(kind bool) {
	changes, _ := p.m.Briefs()
	for _, c := range changes {
		if c.State != rollout.Rolling {
			continue
		}
		for _, judge := range []string{rollout.SignalsJudge, "prometheus 1"} {
			v := rollout.Good
			if !kind {
				v = rollout.Verdict(p.one("good", "good", "good", "no traffic", "unable", "bad"))
			}
			p.step(lookOf(p.m, c.ID, judge).Answer(v, "as it is"))
		}
	}
}

// change changes the files to something that compiles as a whole: a set that doesn't
// compile never gets this far.
func (p *play) change() {
	for range 20 {
		next := slices.Clone(p.files)
		for range 1 + p.rng.IntN(2) {
			next = p.edit(next)
		}
		if len(check(p.wanted(next))) == 0 {
			p.files = next
			p.want()
			return
		}
	}
}

func (p *play) edit(files []string) []string {
	word := p.one(
		p.one("a", "b", "c")+"="+p.one("v0", "v1", "v2", "v3")+p.one("", "", "@edge"),
		p.one("b", "c")+"="+p.one("v1", "v2")+">"+p.one("web", "api"),
		p.one("web:80", "web:81", "api:80", "api:81")+"="+p.one("v0", "v1"),
		"cluster/x="+p.one("v0", "v1"),
		p.one("a", "b")+"=none",
	)
	same := func(a, b string) bool {
		of := func(w string) string {
			name, _, _ := strings.Cut(w, "=")
			name, _, _ = strings.Cut(name, ":")
			return name
		}
		return of(a) == of(b)
	}
	files = slices.DeleteFunc(files, func(w string) bool { return same(w, word) })
	if p.rng.IntN(4) == 0 {
		return files
	}
	return append(files, word)
}

func (p *play) want() {
	p.logf("files %v", p.files)
	p.step(rollout.Wanted{Set: p.wanted(p.files)})
}

func (p *play) command() {
	changes, _ := p.m.Briefs()
	if len(changes) == 0 {
		return
	}
	c := changes[p.rng.IntN(min(len(changes), 5))]
	verbs := rollout.Verbs()
	p.step(rollout.Command{Verb: verbs[p.rng.IntN(len(verbs))], ID: c.ID, AtOnce: p.rng.IntN(2) == 0, Later: p.rng.IntN(2) == 0})
}

// pass advances time.
func (p *play) pass(d time.Duration) {
	end := p.now.Add(d)
	for p.wake.After(p.now) && !p.wake.After(end) {
		p.now = p.wake
		p.step(rollout.Tick{})
	}
	p.now = end
	p.step(rollout.Tick{})
}

// kill kills the server before some of its writes. Another starts, and Envoys connect to it
// gradually.
func (p *play) kill() {
	p.tally.Kills++
	p.write(p.rng.IntN(len(p.queue) + 1))
	p.tally.Lost += len(p.queue)
	p.logf("killed, %d batches are lost", len(p.queue))
	p.start()
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		e := p.nodes[id]
		e.known = e.there
		if e.there {
			p.step(rollout.Expected{Node: e.Node})
		}
		e.there = false
	}
	p.want()
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		if e := p.nodes[id]; e.known && p.rng.IntN(5) > 0 {
			e.there = true
			p.step(rollout.Connected{Node: e.Node})
		}
	}
}

// replica compares the server with another, which starts from what is written.
func (p *play) replica() {
	if len(p.queue) > 0 {
		return
	}
	m, errs := rollout.New(p.o, p.disk.copy())
	for _, err := range errs {
		p.breaks("replica: %v", err)
	}
	m.Step(p.now, rollout.Wanted{Set: p.wanted(p.files)})
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		if p.nodes[id].there {
			m.Step(p.now, rollout.Connected{Node: p.nodes[id].Node})
		}
	}
	if err := rollout.Same(p.m, m); err != nil {
		p.logf("written: %s", slices.Sorted(maps.Keys(p.disk)))
		p.breaks("a replica: %v", err)
	}
}

// end ends all faults, and checks the result.
func (p *play) end() {
	p.logf("faults end")
	p.away = false
	p.write(len(p.queue))
	p.holes = nil
	for i, w := range p.files {
		name, _, _ := strings.Cut(w, "=")
		if strings.HasSuffix(w, "=none") {
			p.files[i] = name + "=v9"
		}
	}
	p.nodes["last"] = &envoy{Node: definition.Node{ID: "last", Cluster: "edge", Labels: map[string]string{"tier": "canary"}}}
	for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
		e := p.nodes[id]
		e.there, e.known = true, true
		p.step(rollout.Connected{Node: e.Node})
	}
	p.want()
	for range 400 {
		changes, held := p.m.Briefs()
		for _, c := range changes {
			if c.State == rollout.Paused || c.State == rollout.Stopped {
				p.step(rollout.Command{Verb: rollout.Resume, ID: c.ID})
			}
		}
		slices.Sort(held)
		for _, id := range held {
			p.step(rollout.Command{Verb: rollout.Resume, ID: id})
		}
		p.write(len(p.queue))
		for _, id := range slices.Sorted(maps.Keys(p.nodes)) {
			e := p.nodes[id]
			e.told = p.plan.Choose(e.Node)
			p.step(rollout.Settled{ID: id, Choice: e.told})
		}
		p.judge(true)
		p.pass(15 * time.Second)
		p.write(len(p.queue))
		if p.broken != "" || p.m.Unfinished() == nil {
			break
		}
	}
	if err := p.m.Unfinished(); err != nil {
		p.breaks("in the end: %v", err)
		return
	}
	for len(p.queue) > 0 { // the last write may have caused another
		p.write(len(p.queue))
	}
	for w := range p.watched {
		p.breaks("in the end the Envoys of wave %d of %s are still observed", w.wave, w.change)
	}
	for key := range p.disk {
		if strings.HasPrefix(key, "told/") {
			p.breaks("in the end %s is still kept", key)
		}
	}
	have, want := wordsOf(p.plan.Base), wordsOf(p.wanted(p.files))
	if !slices.Equal(have, want) {
		p.breaks("in the end the base is %v, and the files say %v", have, want)
	}
	p.replica()
}

func (p *play) wanted(files []string) *module.Set {
	return wantedOf(files, p.known, p.policies, p.holes)
}
