package judge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal"
)

// told are Envoys with a hundred requests in each block, of which some fail.
type told struct {
	start   time.Time
	fails   func(node string, at time.Time) uint32
	watched []string
}

func (c *told) Watch(nodes []string, _ time.Time) { c.watched = nodes }

func (c *told) Envoy(node string, now time.Time) signal.Envoy {
	e := signal.Envoy{Node: node}
	for at := c.start; !at.Add(signal.BlockTime).After(now); at = at.Add(signal.BlockTime) {
		b := signal.Block{Start: at}
		b.Parts[0] = signal.Count{Requests: 100, Errors: c.fails(node, at)}
		e.Blocks = append(e.Blocks, b)
	}
	return e
}

// wave returns a change in a wave of one Envoy, with a judge of errors.
func wave(c *told, o Options) (*Judge, rollout.Watch, rollout.Look) {
	o.Counts = c
	w := rollout.Watch{Change: "c1", Wave: 1, New: []string{"new"}}
	for i := range 8 {
		w.Control = append(w.Control, fmt.Sprintf("other-%d", i))
	}
	p := &definition.Rollout{Waves: []definition.Wave{{Count: 1}, {Share: 1}}}
	p.Stop.Errors = definition.ErrorRise{More: 0.01, Confidence: 0.999}
	w.Policy = p
	return New(o), w, rollout.Look{Change: "c1", Wave: 1, Policy: p}
}

// begun begins a wave as soon as it is watched.
func begun(j *Judge, at time.Time, w rollout.Watch) {
	for _, phase := range []rollout.Phase{rollout.Before, rollout.During} {
		w.Phase = phase
		j.Watch(at, w)
	}
}

// TestLook checks that a wave is judged by samples of its Envoys since they have the
// change.
func TestLook(t *testing.T) {
	for _, c := range []struct {
		name  string
		fails uint32
		want  rollout.Verdict
		words string
	}{
		{"good", 0, rollout.Good, "of requests fail"},
		{"bad", 20, rollout.Bad, "1.0% is allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Unix(1_800_000_000, 0)
			began := start.Add(Before)
			counts := &told{start: start, fails: func(node string, at time.Time) uint32 {
				if node == "new" && !at.Before(began) {
					return c.fails
				}
				return 0
			}}
			j, w, look := wave(counts, Options{})
			w.Phase = rollout.Before
			j.Watch(start, w)
			if v, words := j.Look(began, look); v != "" {
				t.Errorf("before it began: %s: %s", v, words)
			}
			w.Phase = rollout.During
			j.Watch(began, w)
			if v, words := j.Look(began.Add(time.Minute), look); v != rollout.Unsure || !strings.Contains(words, "no Envoy of the wave has the change") {
				t.Errorf("before anybody has it: %s: %s", v, words)
			}
			j.Tell(began.Add(time.Second), rollout.Settled{ID: "new", Choice: "c0+c1"})
			if v, words := j.Look(began.Add(5*time.Minute), look); v != c.want || !strings.Contains(words, c.words) {
				t.Errorf("then: %s: %s", v, words)
			}
			j.Tell(began.Add(6*time.Minute), rollout.Settled{ID: "new", Choice: "c0"})
			if v, words := j.Look(began.Add(6*time.Minute), look); v != rollout.Unsure {
				t.Errorf("when it has it no more: %s: %s", v, words)
			}
			during := j.Curves(began.Add(7*time.Minute), "c1")
			w.Phase = rollout.After
			j.Watch(began.Add(7*time.Minute), w)
			after := j.Curves(began.Add(time.Hour), "c1")
			if during == nil || !reflect.DeepEqual(after, during) || len(after.New) != len(after.Control) || !after.Began.Equal(began) {
				t.Errorf("the curves are %+v, and %+v when it is over", during, after)
			} else if last := after.New[len(after.New)-1]; last.Requests != 100 || last.Errors != float64(c.fails) || after.New[0].Errors != 0 {
				t.Errorf("the curve of the new begins with %+v and ends with %+v", after.New[0], last)
			}
			if v, _ := j.Look(began.Add(7*time.Minute), look); v != "" || len(j.Watched()) > 0 || len(counts.watched) > 0 {
				t.Errorf("after it: %q, %q is watched", v, j.Watched())
			}
		})
	}
}

// TestLongWave checks that samples from before a wave are kept as long as it lasts,
// whatever else begins to be watched meanwhile: another change, or the next wave.
func TestLongWave(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	began := start.Add(Before)
	counts := signal.NewCounts()
	j, w, look := wave(&told{}, Options{})
	j.o.Counts = counts
	w.Phase = rollout.Before
	j.Watch(start, w)
	for at := start; at.Before(start.Add(time.Hour)); at = at.Add(time.Second) {
		for _, id := range append([]string{"new"}, w.Control...) {
			counts.Add(id, at, make([]signal.Sample, 25))
		}
		switch at.Sub(began) {
		case 0:
			w.Phase = rollout.During
			j.Watch(began, w)
			j.Tell(began, rollout.Settled{ID: "new", Choice: "c1"})
		case 50 * time.Minute:
			j.Watch(at, rollout.Watch{Change: "c2", Wave: 1, Policy: w.Policy, Phase: rollout.Before, New: []string{"other-1"}, Control: []string{"other-2"}})
		}
	}
	if v, words := j.Look(start.Add(time.Hour), look); v != rollout.Good {
		t.Errorf("when another wave is prepared: %s: %s", v, words)
	}
}

// TestWatchedOn checks that a wave that began with another server is judged by the earlier
// samples that this one had saved, and by those since the new one watches.
func TestWatchedOn(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	began := start.Add(Before)
	for _, c := range []struct {
		name  string
		fails uint32
		want  rollout.Verdict
	}{{"good", 0, rollout.Good}, {"bad", 20, rollout.Bad}} {
		t.Run(c.name, func(t *testing.T) {
			counts := &told{start: start, fails: func(node string, at time.Time) uint32 {
				fails := uint32(len(node)) // each by itself: 3 and 7 of 100
				if node == "new" && !at.Before(began) {
					fails += c.fails
				}
				return fails
			}}
			first, w, look := wave(counts, Options{})
			w.Phase = rollout.Before
			if kept := first.Watch(start, w); kept != nil {
				t.Error("something is kept before the wave begins")
			}
			w.Phase = rollout.During
			w.Told = first.Watch(began, w)
			if w.Told == nil {
				t.Fatal("nothing is kept")
			}
			// Ten seconds later that server has died, and the next one has started.
			again := began.Add(10 * time.Second)
			counts.start = again.Truncate(signal.BlockTime)
			second := New(Options{Counts: counts})
			if kept := second.Watch(again, w); kept != nil {
				t.Error("it is kept once more")
			}
			if v, words := second.Look(again.Add(time.Minute), look); v != rollout.Unsure {
				t.Errorf("before its Envoy has said what it runs: %s: %s", v, words)
			}
			second.Tell(again.Add(time.Second), rollout.Settled{ID: "new", Choice: "c1"})
			if v, words := second.Look(again.Add(5*time.Minute), look); v != c.want || !strings.Contains(words, "3.0% before") {
				t.Errorf("then: %s: %s", v, words)
			}
			curves := second.Curves(again.Add(5*time.Minute), "c1")
			if !curves.From.Equal(again.Truncate(signal.BlockTime)) || !curves.Began.Equal(began) || curves.New[len(curves.New)-1].Requests == 0 {
				t.Errorf("curves from %v of a wave that began at %v", curves.From, curves.Began)
			}
			w.Told = w.Told[:len(w.Told)-1]
			third := New(Options{Counts: counts})
			third.Watch(again, w)
			if v, words := third.Look(again.Add(5*time.Minute), look); v != rollout.Unable {
				t.Errorf("of what is damaged: %s: %s", v, words)
			}
		})
	}
}

// TestSettledEarly checks that an Envoy of another server may report that it runs the
// change before the leader knows that the wave has begun. It doesn't report it again.
func TestSettledEarly(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	began := start.Add(Before)
	counts := &told{start: start, fails: func(string, time.Time) uint32 { return 0 }}
	j, w, look := wave(counts, Options{})
	w.Phase = rollout.Before
	j.Watch(start, w)
	j.Tell(began.Add(-time.Second), rollout.Settled{ID: "new", Choice: "c0+c1"})
	j.Tell(began.Add(-time.Second), rollout.Settled{ID: "other-1", Choice: "c0"})
	w.Phase = rollout.During
	j.Watch(began, w)
	if v, words := j.Look(began.Add(5*time.Minute), look); v != rollout.Good {
		t.Errorf("%s: %s", v, words)
	}
	j.Tell(began.Add(6*time.Minute), rollout.Settled{ID: "new", Choice: "c0"})
	if v, words := j.Look(began.Add(6*time.Minute), look); v != rollout.Unsure {
		t.Errorf("when it has it no more: %s: %s", v, words)
	}
	w.Phase = rollout.After
	if j.Watch(began.Add(7*time.Minute), w); len(j.settled) > 0 {
		t.Errorf("%v are still known", j.settled)
	}
}

// TestUnable checks that what can't be measured isn't taken for good, and isn't waited for.
func TestUnable(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	counts := &told{start: start, fails: func(string, time.Time) uint32 { return 0 }}
	j, w, look := wave(counts, Options{})
	w.Phase = rollout.During
	j.Watch(start.Add(time.Hour), w)
	if v, words := j.Look(start.Add(2*time.Hour), look); v != rollout.Unable || !strings.Contains(words, "with another server") {
		t.Errorf("of a wave of another server: %s: %s", v, words)
	}
	j, w, look = wave(counts, Options{})
	begun(j, start, w)
	look.Unable = true
	if v, words := j.Look(start.Add(time.Hour), look); v != rollout.Unable || !strings.Contains(words, "RTDS") {
		t.Errorf("of an Envoy that can't be told: %s: %s", v, words)
	}
}

// TestControlSince checks that samples of controls from before ControlSince are not
// compared.
func TestControlSince(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	counts := &told{start: start, fails: func(string, time.Time) uint32 { return 0 }}
	j, w, _ := wave(counts, Options{})
	w.ControlSince, w.Phase = start.Add(time.Minute), rollout.During
	j.Watch(start.Add(2*time.Minute), w)
	got := j.wave(j.watches[0], start.Add(3*time.Minute))
	if n, others := len(got.New[0].Blocks), len(got.Control[0].Blocks); n != 45 || others != 30 {
		t.Errorf("%d blocks of the new, %d of the others, want 45 and 30", n, others)
	}
}

// TestWatched checks that no more Envoys are watched than are counted, and some of each
// wave.
func TestWatched(t *testing.T) {
	counts := &told{}
	j := New(Options{Counts: counts})
	policy := &definition.Rollout{Waves: []definition.Wave{{Share: 1}}}
	for wave := range 3 {
		w := rollout.Watch{Change: "c1", Wave: wave + 1, Policy: policy, Phase: rollout.Before}
		for i := range 100 {
			w.New = append(w.New, fmt.Sprintf("new-%d-%d", wave, i))
			w.Control = append(w.Control, fmt.Sprintf("other-%d-%d", wave, i))
		}
		j.Watch(time.Unix(0, 0), w)
	}
	if len(counts.watched) != signal.MaxWatched || !slices.Equal(counts.watched, j.Watched()) {
		t.Errorf("%d Envoys are watched, want %d", len(counts.watched), signal.MaxWatched)
	}
	w := rollout.Watch{Change: "c1", Wave: 3, Policy: policy, New: []string{"new-2-0"}, Phase: rollout.During}
	j.Watch(time.Unix(0, 0), w)
	if v, words := j.Look(time.Unix(60, 0), rollout.Look{Change: "c1", Wave: 3, Policy: policy}); v != rollout.Unable {
		t.Errorf("of Envoys that are not watched: %s: %s", v, words)
	}
	for wave, want := range []int{16, 16, 0} {
		if n := len(slices.DeleteFunc(slices.Clone(counts.watched), func(id string) bool { return !strings.HasPrefix(id, fmt.Sprintf("new-%d-", wave)) })); n != want {
			t.Errorf("%d Envoys of wave %d are watched, want %d", n, wave+1, want)
		}
	}
}

// TestAway checks that missing samples of an Envoy that is away, or was within a minute,
// don't count against the change.
func TestAway(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	counts := &told{start: start, fails: func(string, time.Time) uint32 { return 0 }}
	j, w, look := wave(counts, Options{})
	begun(j, start, w)
	away := func(at time.Time) bool {
		w, _ := j.waveOf(at, look)
		return w.New[0].Away
	}
	j.Tell(start, rollout.Connected{Node: definition.Node{ID: "new"}}) // a second stream
	if away(start) {
		t.Error("it is there")
	}
	j.Tell(start, rollout.Gone{ID: "new"})
	if !away(start.Add(time.Hour)) {
		t.Error("it is away")
	}
	back := start.Add(2 * time.Hour)
	j.Tell(back, rollout.Connected{Node: definition.Node{ID: "new"}})
	if !away(back.Add(backFor-time.Second)) || away(back.Add(backFor)) {
		t.Error("it is just back, and is there then")
	}
}

// TestWhatHappenedIsDrawn checks that the curves show restarts of watched Envoys and
// crashes of their VMs as often as the machine received them.
func TestWhatHappenedIsDrawn(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	counts := &told{start: start, fails: func(string, time.Time) uint32 { return 0 }}
	j, w, _ := wave(counts, Options{})
	begun(j, start, w)
	for id, times := range map[string]int{"new": 2, "other-0": 1, "other-7": 1, "nobody looks at it": 5} {
		for range times {
			j.Tell(start.Add(10*signal.BlockTime), rollout.Restarted{ID: id})
			for range 3 { // simultaneously, of several filters
				j.Tell(start.Add(12*signal.BlockTime), rollout.Crashed{ID: id, Filter: "hello"})
			}
		}
	}
	for range 2 * mostTimes {
		j.Tell(start.Add(20*signal.BlockTime), rollout.Restarted{ID: "other-1"})
	}
	c := j.Curves(start.Add(30*signal.BlockTime), "c1")
	for k := range c.New {
		var wantNew, wantControl rollout.Point
		switch k {
		case 10:
			wantNew.Restarts, wantControl.Restarts = 2, 2
		case 12:
			wantNew.Crashes, wantControl.Crashes = 6, 6
		case 20:
			wantControl.Restarts = mostTimes
		}
		for _, p := range []struct {
			of        string
			got, want rollout.Point
		}{{"new", c.New[k], wantNew}, {"control", c.Control[k], wantControl}} {
			if p.got.Restarts != p.want.Restarts || p.got.Crashes != p.want.Crashes {
				t.Errorf("point %d of %s has %d restarts and %d crashes, want %d and %d", k, p.of, p.got.Restarts, p.got.Crashes, p.want.Restarts, p.want.Crashes)
			}
		}
	}
	w.Phase = rollout.After
	j.Watch(start.Add(time.Hour), w)
	if len(j.anew) > 0 || len(j.crashed) > 0 {
		t.Errorf("%d and %d Envoys are still known", len(j.anew), len(j.crashed))
	}
}
