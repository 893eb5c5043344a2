package swap_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

var (
	seeds = flag.Int("seeds", 300, "interleavings to play")
	seed  = flag.Uint64("seed", 0, "play this one only, and tell it")
)

// TestRandom plays random interleavings of changes, answers, downloads and
// cuts against a model of Envoy, and then lets faults end: in no order may a
// listener serve without its filter, or a slot get what Envoy has not primed,
// and in the end everything is as it is wanted and nothing more is sent.
func TestRandom(t *testing.T) {
	first, last := uint64(1), uint64(*seeds)
	if *seed != 0 {
		first, last = *seed, *seed
	}
	partly := 0
	for n := first; n <= last; n++ {
		for _, delta := range []bool{false, true} {
			p := &play{t: t, rng: rand.New(rand.NewPCG(n, 1)), delta: delta, tell: *seed != 0}
			if err := p.run(); err != "" {
				t.Fatalf("seed %d, delta %t: %s\nagain with: go test ./xds/swap -run TestRandom -seed %d -v", n, delta, err, n)
			}
			partly += p.partly
		}
	}
	t.Logf("%d times a change was in place on an Envoy that lacked something else", partly)
	if *seed == 0 && partly < *seeds/10 {
		t.Errorf("that was to be tried more often")
	}
}

type play struct {
	world
	t     *testing.T
	rng   *rand.Rand
	delta bool
	tell  bool

	now        time.Time
	space      *swap.Interner
	snap       *resource.Snapshot
	m          *swap.Machine
	e          *model
	wake       time.Time // when the machine wants to be woken
	streams    int
	open       map[swap.Type]uint32 // responses in flight, by what was sent
	badModules map[string]bool
	quiet      bool     // of a crash there is but one alarm
	alarms     []string // slots whose VMs have crashed, to be told
	sends      int
	again      map[string]sent // by type and name, what was sent since anything but ACKs came

	names    []string // of filters that may be added
	tcpOnly  bool     // it is mostly about network filters
	rejects  bool     // Envoy refuses listeners; none comes or goes, as what it took of a refused response is unknown
	respare  time.Duration
	sampling uint32 // of a million requests
	met      met    // what requests met so far

	wants
	base *wants // while a change is open: what there is without it

	before *wants // what was wanted before the newest change
	partly int    // how often a change was in place beside what was not
}

// sent is how often a resource was sent in the same bytes.
type sent struct {
	value string
	times int
}

// endless is how often a resource may be sent in the same bytes for ACKs alone.
const endless = 50

// wants is what is wanted.
type wants struct {
	versions  map[string]int // of filters
	extra     bool           // the second listener is there
	tcp       bool           // ... one that is not for HTTP
	filters   []string
	broken    map[string]string // filter → "missing" or "bad"
	timeout   int               // of the route
	perRoutes map[string]string // ROUTE:FILTER → what the route says of it
	replaced  int               // changes of the listener itself
	statics   map[string]int    // → version, of extensions that are sent as they are written
	refused   map[string]bool   // those that Envoy refuses
	slotted   map[string]string // → the listener that has a slot for it
	rejected  map[string]bool   // listeners that Envoy refuses; see rejects
}

func (w wants) clone() *wants {
	w.versions, w.broken, w.statics = maps.Clone(w.versions), maps.Clone(w.broken), maps.Clone(w.statics)
	w.refused, w.slotted, w.filters = maps.Clone(w.refused), maps.Clone(w.slotted), slices.Clone(w.filters)
	w.perRoutes, w.rejected = maps.Clone(w.perRoutes), maps.Clone(w.rejected)
	return &w
}

func (p *play) logf(format string, args ...any) {
	if p.tell {
		p.t.Logf("%s "+format, append([]any{p.now.Format("04:05.000")}, args...)...)
	}
}

func (p *play) run() string {
	first := []string{"auth", "hello"}
	if p.rng.IntN(3) == 0 {
		p.names, p.tcp, p.tcpOnly = []string{"net", "net-2", "net-3", "turns"}, true, true
		first = p.names
	}
	p.begin(first[:p.rng.IntN(len(first)+1)])
	for range 40 + p.rng.IntN(160) {
		if p.tcpOnly && p.rng.IntN(20) == 0 {
			p.rest() // else an Envoy seldom gets to where a filter runs
		}
		p.act(true)
		if err := p.check(); err != "" {
			return err
		}
	}
	return p.end()
}

func (p *play) begin(filters []string) {
	p.world = newWorld()
	if p.names == nil {
		p.names = []string{"auth", "hello", "open", "same", "zip", "log", "trace", "turns", "net", "net-2", "net-open", "lua", "openlua", "both"}
	}
	p.now = time.Unix(0, 0)
	p.space = swap.NewInterner()
	p.versions = map[string]int{}
	p.broken = map[string]string{}
	p.badModules = map[string]bool{}
	p.statics, p.refused, p.slotted, p.rejected = map[string]int{}, map[string]bool{}, map[string]string{}, map[string]bool{}
	p.filters = slices.Clone(filters)
	if p.rejects = p.rng.IntN(2) == 0; p.rejects {
		p.extra = p.rng.IntN(4) > 0
	}
	p.spares.Around = p.rng.IntN(3)
	p.respare = time.Duration(p.rng.IntN(2)) * 20 * time.Second
	p.snap = p.define(p.t, p.text())
	p.met.publish(p.snap)
	p.newEnvoy(func(sha string) bool {
		return p.badModules[p.modules[sha]] || strings.HasPrefix(p.modules[sha], "bad-")
	})
	p.connect()
}

// text writes the world as the test wants it now, with what there is without the
// change that is open.
func (p *play) text() string {
	if p.base == nil {
		return p.wanted(&p.wants)
	}
	return p.wanted(&p.wants) + "base\n" + p.wanted(p.base)
}

func (p *play) wanted(w *wants) string {
	var b strings.Builder
	for _, f := range w.filters {
		fmt.Fprintf(&b, "filter %s v%d", f, w.versions[f])
		switch {
		case f == "same":
			b.WriteString(" module=auth-v0")
		case f == "openlua":
			b.WriteString(" open " + w.lua(f))
		case strings.Contains(f, "open"):
			b.WriteString(" open")
		case f == "log":
			b.WriteString(" log")
		case f == "trace":
			b.WriteString(" log open")
		case w.lua(f) != "":
			b.WriteString(" " + w.lua(f))
		case w.versions[f]%3 == 1:
			fmt.Fprintf(&b, " module=%s-v%d", f, w.versions[f]-1) // only its configuration changes
		}
		if isNetwork(f, w.versions[f]) {
			b.WriteString(" network")
		}
		switch w.broken[f] {
		case "missing":
			b.WriteString(" missing")
		case "bad":
			if w.lua(f) != "" {
				break
			}
			mod := fmt.Sprintf("bad-%s-%d", f, w.versions[f])
			p.badModules[mod] = true
			b.WriteString(" module=" + mod)
		}
		b.WriteByte('\n')
	}
	for _, name := range slices.Sorted(maps.Keys(w.statics)) {
		fmt.Fprintf(&b, "static %s v%d", name, w.statics[name])
		if w.refused[name] {
			b.WriteString("-" + refusedStatic)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "listener web port=%d timeout=%ds %s%s%s\n", w.portOf("web"), w.timeout+1, strings.Join(w.filters, " "), w.staticsOf("web"), w.perRouteWords())
	if w.extra {
		fmt.Fprintf(&b, "listener web2 port=%d %s%s\n", w.portOf("web2"), strings.Join(w.filters[:len(w.filters)/2], " "), w.staticsOf("web2"))
	}
	if w.tcp {
		fmt.Fprintf(&b, "listener db tcp %s\n", strings.Join(w.filters, " "))
	}
	return b.String()
}

// portOf is the port of a listener, which Envoy may refuse to bind.
func (w *wants) portOf(listener string) int {
	switch {
	case w.rejected[listener]:
		return refusedPorts + w.replaced
	case listener == "web":
		return w.replaced + 1
	}
	return 0
}

// isNetwork tells which filters are network filters; "turns" is one now and then.
func isNetwork(filter string, version int) bool {
	return strings.HasPrefix(filter, "net") || filter == "turns" && version/2%2 == 1
}

// lua says that a filter is a Lua filter, if it is: some always are, one with every
// other change.
func (w *wants) lua(filter string) string {
	switch {
	case filter != "lua" && filter != "openlua" && !(filter == "both" && w.versions[filter]%2 == 0):
		return ""
	case w.broken[filter] == "bad":
		return "badlua"
	}
	return "lua"
}

// staticsOf are the slots of a listener for other extensions.
func (w *wants) staticsOf(listener string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.slotted)) {
		if w.slotted[name] == listener {
			b.WriteString(" static=" + name)
		}
	}
	return b.String()
}

// changeStatic changes an extension that is sent as it is written, or the
// slots for it.
func (p *play) changeStatic() {
	name := statics[p.rng.IntN(len(statics))]
	switch _, there := p.statics[name]; {
	case there && p.rng.IntN(4) == 0:
		delete(p.slotted, name) // nothing takes it any more
	case there && p.rng.IntN(4) == 0:
		p.statics[name] = max(1, p.statics[name]-1) // back again
		p.refused[name] = false
	default:
		p.statics[name]++
		p.refused[name] = p.rng.IntN(3) == 0
		p.slotted[name] = []string{"web", "web2"}[p.rng.IntN(2)]
	}
}

func (p *play) connect() {
	p.open = map[swap.Type]uint32{}
	var left swap.Left
	if p.m != nil {
		left = p.m.Left()
	}
	p.m = swap.New(swap.Options{Interner: p.space, Snapshot: p.snap, Delta: p.delta, Salt: 100 + 1000*p.streams, Rand: p.rng.Float64, Left: left, Respare: p.respare, Sampling: p.sampling,
		Broken: func(err error) { p.e.breaks("%v", err) }})
	p.wake = time.Time{}
	p.streams++
	p.e.connect()
	p.atModuleServer()
}

// atModuleServer tells the Envoy which module server there is.
func (p *play) atModuleServer() {
	for _, c := range p.snap.Clusters {
		if c.Name == modulesCluster {
			p.e.moduleServer = c.Version
		}
	}
}

// step lets the machine take an event.
func (p *play) step(e swap.Event) {
	if r, ok := e.(swap.Request); p.again == nil || !(ok && p.answers(r)) {
		p.again = map[string]sent{}
	}
	ready := p.m.Step(p.now, e)
	p.wake = ready.Wake
	if p.base != nil {
		for _, r := range ready.Refused {
			if err := p.blame(r); err != "" {
				p.e.breaks("%s", err)
			}
		}
	}
	for _, s := range ready.Sends {
		p.sends++
		var names []string
		for _, r := range s.Resources {
			names = append(names, r.Name+p.label(r.Version))
			p.sentAgain(s.Type, r)
		}
		p.logf("  send %s %d: %s -%v", s.Type, s.Nonce, strings.Join(names, " "), s.Removed)
		if p.open[s.Type] != 0 {
			p.e.breaks("two responses of type %s in flight", s.Type)
		}
		p.open[s.Type] = s.Nonce
		p.e.inbox = append(p.e.inbox, s)
	}
}

// answers tells whether a request is an ACK, and nothing else.
func (p *play) answers(r swap.Request) bool {
	return r.Nonce != "" && !r.Failed && len(r.Subscribe)+len(r.Unsubscribe) == 0
}

// sentAgain counts how often a resource is sent in the same bytes, though Envoy takes it
// each time: whatever is lost of an ACK would have it sent for ever.
func (p *play) sentAgain(t swap.Type, r *resource.Resource) {
	key := t.String() + " " + r.Name
	was := p.again[key]
	if was.value != string(r.Value) {
		was = sent{value: string(r.Value)}
	}
	was.times++
	p.again[key] = was
	if was.times > endless {
		p.e.breaks("%s was sent %d times in the same bytes, for nothing but ACKs", key, was.times)
	}
}

// act does one thing that may happen.
func (p *play) act(faults bool) {
	if len(p.open)+len(p.e.inbox) == 0 && !p.e.waits() {
		p.met.calm()
	}
	switch n := p.rng.IntN(100); {
	case n < 35:
		p.deliver()
	case n < 65 && len(p.e.inbox) > 0:
		p.e.receive()
	case n < 74:
		p.fetch(faults)
	case n < 75:
		p.e.drained()
	case n < 77:
		p.alarm()
	case n < 85:
		p.pass(time.Duration(p.rng.IntN(400)) * time.Millisecond)
	case faults && n < 86:
		p.sampling = []uint32{0, 1000, 1_000_000}[p.rng.IntN(3)]
		p.step(swap.Sample{PerMillion: p.sampling})
	case faults && n < 93:
		p.change()
	case faults && n < 94:
		p.crash()
	case faults && n < 95:
		p.cut()
	case faults && n < 96:
		p.restart()
	default:
		p.pass(time.Duration(p.rng.IntN(8000)) * time.Millisecond)
	}
}

// deliver brings Envoy's next request to the machine.
func (p *play) deliver() {
	if len(p.e.outbox) == 0 {
		return
	}
	r := p.e.outbox[0]
	p.e.outbox = p.e.outbox[1:]
	if r.Nonce != "" && r.Nonce == swap.FormatNonce(p.open[r.Type]) {
		delete(p.open, r.Type)
	}
	p.logf("%s request nonce=%s failed=%t %s names=%v +%v -%v version=%q has=%v", r.Type, r.Nonce, r.Failed, r.Error, r.Names, r.Subscribe, r.Unsubscribe, r.Version, r.Initial)
	p.step(r)
}

// fetch lets a download begin or end; the machine may be told or not.
func (p *play) fetch(faults bool) {
	if len(p.e.fetches) == 0 {
		return
	}
	i := p.rng.IntN(len(p.e.fetches))
	sha := p.e.fetches[i]
	if p.rng.IntN(2) == 0 {
		p.step(swap.Download{SHA256: sha, Progress: swap.DownloadStarted, Size: 1000})
		return
	}
	p.e.fetches = slices.Delete(p.e.fetches, i, i+1)
	ok := !faults || p.rng.IntN(5) > 0
	p.e.fetched(sha, ok)
	p.logf("fetched %s: %t", p.modules[sha], ok)
	if faults && p.rng.IntN(4) == 0 {
		return // the machine is not told
	}
	progress := swap.DownloadDone
	if !ok {
		progress = swap.DownloadAborted
	}
	p.step(swap.Download{SHA256: sha, Progress: progress, Size: 1000})
}

// pass lets time go by.
func (p *play) pass(d time.Duration) {
	end := p.now.Add(d)
	for {
		due := p.wake
		if !due.After(p.now) || due.After(end) {
			p.now = end
			return
		}
		p.now = due
		p.step(swap.Tick{})
	}
}

// change changes what is wanted, or what is wanted without the change that is open: one
// thing, or several at once. Some changes are taken back by the next, whatever the Envoy
// has answered by then.
func (p *play) change() {
	if p.before != nil && p.rng.IntN(6) == 0 {
		back := p.before
		p.before = p.wants.clone()
		p.wants = *back
		p.publish()
		return
	}
	p.before = p.wants.clone()
	switch n := p.rng.IntN(6); {
	case p.base == nil && n < 2:
		p.base = p.wants.clone()
	case p.base != nil && n == 0:
		p.base = nil // it is done
	case p.base != nil && n < 3:
		p.wants, p.base = *p.base, nil // it is undone
		p.publish()
		return
	}
	things := 1
	if p.rng.IntN(3) == 0 {
		things += 1 + p.rng.IntN(3)
	}
	for range things {
		p.changeOne()
	}
	if p.rng.IntN(3) == 0 {
		p.changeRoutes()
	}
	if p.rng.IntN(3) == 0 {
		p.timeout++ // a route is dropped in together with something else, or alone
	}
	p.publish()
}

// changeOne changes one thing.
func (p *play) changeOne() {
	switch n := p.rng.IntN(10); {
	case n < 5 && len(p.filters) > 0:
		f := p.filters[p.rng.IntN(len(p.filters))]
		switch was := p.broken[f]; {
		case was != "missing" && p.rng.IntN(8) == 0:
			p.broken[f] = "missing" // what it has is lost
		case was == "missing" && p.rng.IntN(2) == 0:
			p.broken[f] = "" // and is back
		default:
			p.versions[f]++
			p.broken[f] = []string{"", "", "", "bad"}[p.rng.IntN(4)]
		}
	case n < 7:
		name := p.names[p.rng.IntN(len(p.names))]
		if i := slices.Index(p.filters, name); i >= 0 {
			p.filters = slices.Delete(p.filters, i, i+1)
		} else {
			p.filters = slices.Insert(p.filters, p.rng.IntN(len(p.filters)+1), name)
			p.versions[name]++
			p.broken[name] = []string{"", "", "missing"}[p.rng.IntN(3)]
		}
	case n < 8 && p.rng.IntN(4) > 0 && !p.tcpOnly:
		p.changeStatic()
	case n < 8 && p.rejects:
		p.rejectOne()
	case n < 8 && p.rng.IntN(2) > 0:
		p.tcp = !p.tcp
	case n < 8:
		p.extra = !p.extra
	case n < 9:
		p.rng.Shuffle(len(p.filters), func(i, j int) { p.filters[i], p.filters[j] = p.filters[j], p.filters[i] })
	case p.rng.IntN(3) == 0:
		p.replaced++
	}
}

// rejectOne has Envoy refuse another version of a listener, or accept it again.
func (p *play) rejectOne() {
	p.replaced++
	name := []string{"web", "web2"}[p.rng.IntN(2)]
	p.rejected[name] = !p.rejected[name]
}

func (p *play) publish() {
	p.snap = p.define(p.t, p.text())
	p.met.publish(p.snap)
	p.logf("publish\n%s", p.text())
	p.atModuleServer()
	p.step(swap.Publish{Snapshot: p.snap})
}

// cut ends the stream; Envoy comes again, to this server or a new one.
func (p *play) cut() {
	p.logf("cut")
	if p.rng.IntN(2) == 0 && !p.e.waits() {
		// Another server, with what the first has kept on disk. It does not
		// know the contents of filters that were meant for listeners that
		// warm just now.
		p.logf("another server")
		kept := p.space.Sent()
		p.space = swap.NewInterner()
		p.space.Learn(kept)
		p.m, p.sampling = nil, 0
		p.alarms = append(p.alarms, p.e.crashed()...) // the first may have been told in vain
		p.port = []string{"18001", "18002"}[p.rng.IntN(2)]
		p.spares.Around = p.rng.IntN(3)
		p.snap = p.define(p.t, p.text())
		p.met.publish(p.snap)
	}
	p.connect()
}

func (p *play) restart() {
	p.logf("Envoy starts anew")
	p.met.forget()
	p.newEnvoy(p.e.bad)
	p.connect()
}

func (p *play) newEnvoy(bad func(string) bool) {
	p.e = newModel(p.delta, p.rng, bad)
	p.perRouteOf(p.e)
	p.e.layers = [][]string{nil, {resource.RuntimeLayer}, {"other", resource.RuntimeLayer}}[p.rng.IntN(3)]
	p.e.meets = func(listener string, filters []string, routes string) {
		if err := p.met.request(listener, filters, routes); err != "" {
			p.e.breaks("listener %s: %s", listener, err)
		}
	}
	p.e.logs = func(listener string, loggers []modelLogger) {
		if err := p.met.log(listener, loggers); err != "" {
			p.e.breaks("listener %s: %s", listener, err)
		}
	}
}

func (p *play) check() string {
	if p.e.broken != "" || p.base == nil {
		return p.e.broken
	}
	return p.partlyInPlace()
}

// end lets all faults end, and looks at what is then.
func (p *play) end() string {
	if p.rng.IntN(2) == 0 {
		if err := p.wave(); err != "" {
			return err
		}
	}
	clear(p.rejected)
	if p.base != nil && (strings.Contains(p.wanted(p.base), "bad-") || strings.Contains(p.wanted(p.base), "=bad") || strings.Contains(p.wanted(p.base), "badlua") || len(p.base.rejected) > 0) {
		p.base = nil
	}
	for f := range p.broken {
		if p.broken[f] != "" {
			p.versions[f]++
			p.broken[f] = ""
		}
	}
	p.variantsMended()
	for name := range p.refused {
		if p.refused[name] {
			p.statics[name]++
			p.refused[name] = false
		}
	}
	p.publish()
	p.logf("faults end")
	if err := p.settle(); err != "" {
		return err
	}
	if p.respare > 0 {
		p.pass(2 * p.respare)
		if err := p.settle(); err != "" {
			return "with its spares back: " + err
		}
		for _, l := range p.snap.Listeners {
			if got := p.e.listeners[l.Name]; len(got.slots) < len(l.Slots) {
				return fmt.Sprintf("listener %s has %d slots, a new one has %d", l.Name, len(got.slots), len(l.Slots))
			}
		}
	}
	for range 2 { // VMs that may have crashed are replaced once more, by an Envoy that takes seconds to answer twice
		p.pass(3 * time.Second)
		if err := p.settle(); err != "" {
			return err
		}
	}
	before := p.sends
	p.pass(time.Hour)
	if p.sends != before || len(p.e.inbox) > 0 {
		return "it goes on sending when all is done"
	}
	if err := p.m.Unsettled(p.now); err != nil {
		return err.Error()
	}
	return p.check()
}

// rest plays without faults for a while.
func (p *play) rest() {
	for range 1 + p.rng.IntN(20) {
		for len(p.e.outbox)+len(p.e.inbox) > 0 && p.check() == "" {
			p.deliver()
			if len(p.e.inbox) > 0 {
				p.e.receive()
			}
		}
		if len(p.e.fetches) > 0 {
			p.fetch(false)
			continue
		}
		p.pass(500 * time.Millisecond)
	}
}

// settle plays without faults until all is as it is wanted.
func (p *play) settle() string {
	for range 3000 {
		for len(p.e.outbox) > 0 || len(p.e.inbox) > 0 {
			p.deliver()
			if len(p.e.inbox) > 0 {
				p.e.receive()
			}
			if err := p.check(); err != "" {
				return err
			}
		}
		if len(p.e.fetches) > 0 {
			p.fetch(false)
			continue
		}
		if len(p.alarms) > 0 {
			p.alarm()
			continue
		}
		if p.done() == "" {
			break
		}
		p.pass(500 * time.Millisecond)
	}
	if err := p.done(); err != "" {
		return "in the end: " + err
	}
	return p.check()
}

// done tells what is not as it is wanted.
func (p *play) done() string {
	for _, f := range p.m.Filters(p.now) {
		used := slices.ContainsFunc(p.snap.Listeners, func(l *resource.Listener) bool { return wantedIn(l, f.Name) })
		if !used {
			continue
		}
		if f.State != swap.Running {
			for _, l := range p.m.Listeners(p.now) {
				p.logf("listener %+v", l)
			}
			return fmt.Sprintf("filter %s: %s: %s", f.Name, f.State, f.Reason)
		}
		if err := p.runs(f.Name); err != "" {
			return err
		}
	}
	for _, name := range p.e.crashed() {
		return fmt.Sprintf("the VM in %s is still crashed", p.shown(name))
	}
	for name, listener := range p.slotted {
		if listener == "web2" && !p.extra {
			continue
		}
		i := slices.IndexFunc(p.snap.Static, func(r *resource.Resource) bool { return r.Name == name })
		want, _ := decodeExtension(p.snap.Static[i])
		if got := p.e.slots[name]; got == nil || got.active != want {
			return fmt.Sprintf("the extension %s is not the newest", name)
		}
	}
	for _, l := range p.snap.Listeners {
		got := p.e.listeners[l.Name]
		if got == nil {
			return fmt.Sprintf("listener %s is not there", l.Name)
		}
		if err := p.newest(l, got); err != "" {
			return err
		}
	}
	for name := range p.e.listeners {
		if name != resource.PrimerListener && !slices.ContainsFunc(p.snap.Listeners, func(l *resource.Listener) bool { return l.Name == name }) {
			return fmt.Sprintf("listener %s is still there", name)
		}
	}
	if want := fmt.Sprint(p.sampling); len(p.e.layers) > 0 && p.e.runtime[resource.RuntimeLayer] != want {
		return fmt.Sprintf("its sampling is %s, wanted is %s", p.e.runtime[resource.RuntimeLayer], want)
	}
	if !p.m.Settled() {
		return "the machine says that it has not all"
	}
	if err := p.standBy(); err != "" {
		return err
	}
	if p.snap.Primer == nil {
		return ""
	}
	if !p.e.live {
		return "the gate is shut"
	}
	if got := p.e.listeners[resource.PrimerListener]; got == nil || got.value != string(p.snap.Primer.Value) {
		return "the primer is not the newest"
	}
	return ""
}

// standBy tells whether what is to stand by does not, or something does that is not to.
func (p *play) standBy() string {
	for name, slot := range p.e.slots {
		filter := resource.FilterOf(name)
		if resource.IsStandby(filter) && slot.filter != "" && p.snap.Filter(filter) == nil {
			return fmt.Sprintf("%s still stands by", filter)
		}
	}
	for _, f := range p.snap.Standbys {
		want, _ := decodeExtension(f.Twin(0))
		if got := p.e.slots[f.TwinName]; got == nil || stripAddress(got.active) != stripAddress(want) {
			return fmt.Sprintf("%s does not stand by", f.Name)
		}
	}
	return ""
}

// runs tells what is wrong with a filter that is said to run.
func (p *play) runs(filter string) string {
	want, _ := decodeExtension(p.snap.Filter(filter).Slot(0))
	for _, l := range p.snap.Listeners {
		if !wantedIn(l, filter) || p.e.listeners[l.Name] == nil {
			continue
		}
		in := 0
		for _, log := range p.e.listeners[l.Name].logs {
			if log.name == filter && stripAddress(log.content) == stripAddress(want) {
				in++
			}
		}
		for _, slot := range p.e.listeners[l.Name].slots {
			if got := p.e.slots[slot]; got.filter == filter && stripAddress(got.active) == stripAddress(want) {
				in++
			}
		}
		if in != 1 {
			return fmt.Sprintf("filter %s is said to run, and is %d times in listener %s", filter, in, l.Name)
		}
	}
	return ""
}

// newest tells what a listener of the Envoy's lacks.
func (p *play) newest(l *resource.Listener, got *modelListener) string {
	var filters []string
	for _, slot := range got.slots {
		if f := p.e.slots[slot].filter; f != "" {
			filters = append(filters, f)
		}
	}
	if want := wantedOf(l).filters; !slices.Equal(filters, want) {
		return fmt.Sprintf("listener %s has the filters %q, wanted are %q", l.Name, filters, want)
	}
	var loggers []string
	for _, log := range got.logs {
		loggers = append(loggers, log.name)
	}
	if !slices.Equal(loggers, l.Loggers) {
		return fmt.Sprintf("listener %s has the access loggers %q, wanted are %q", l.Name, loggers, l.Loggers)
	}
	if base, _ := resource.CutMentions(p.e.routes[got.rds]); l.RoutesName != "" && base != l.RoutesBase {
		return fmt.Sprintf("the routes of listener %s are not the newest", l.Name)
	}
	if routes, ok := p.e.decoded[got.rds]; ok && l.RoutesName != "" {
		must := func(string, string, bool) bool { return true }
		if err := p.said[l.RoutesBase].misrun(routes, got.slots, func(slot string) string { return p.e.slots[slot].filter }, l.Filters, must); err != "" {
			return fmt.Sprintf("listener %s: %s", l.Name, err)
		}
	}
	var have listenerv3.Listener
	must(proto.Unmarshal([]byte(got.value), &have))
	var want listenerv3.Listener
	must(proto.Unmarshal(l.Value, &want))
	if have.Address.GetSocketAddress().GetPortValue() != want.Address.GetSocketAddress().GetPortValue() {
		return fmt.Sprintf("listener %s is not the newest", l.Name)
	}
	return ""
}
