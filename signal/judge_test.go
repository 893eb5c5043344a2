package signal

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var asked = Thresholds{Waves: 4,
	Errors: Limit{More: 0.01, Confidence: 0.999}, Latency: Limit{More: 0.25, Confidence: 0.999}, Quantile: 0.99}

// load is the load of an Envoy for some blocks.
type load struct {
	blocks, requests, errors int
	took                     time.Duration
}

// cohort returns Envoys with blocks before and since the beginning of the wave. The blocks
// of a load have equal requests, whose latencies spread by half.
func cohort(name string, n int, since time.Time, before, after load) []Envoy {
	var all []Envoy
	for i := range n {
		e := Envoy{Node: fmt.Sprint(name, "-", i), Since: since}
		r := rand.New(rand.NewPCG(uint64(i), 7))
		add := func(at time.Time, was load) {
			var took []time.Duration
			for range was.requests {
				took = append(took, time.Duration(float64(was.took)*math.Exp(0.5*r.NormFloat64())))
			}
			e.Blocks = append(e.Blocks, Block{Start: at, Latencies: NewLatencies(took...),
				Parts: [parts]Count{{uint32(was.requests), uint32(was.errors)}}})
		}
		for b := range before.blocks {
			add(began.Add(BlockTime*time.Duration(b-before.blocks)), before)
		}
		for b := range after.blocks {
			add(began.Add(BlockTime*time.Duration(b)), after)
		}
		all = append(all, e)
	}
	return all
}

func wave(after, before, otherAfter, otherBefore load) Wave {
	return Wave{Began: began, Now: began.Add(BlockTime * time.Duration(max(after.blocks, otherAfter.blocks))),
		New: cohort("new", 1, began, before, after), Control: cohort("old", 5, time.Time{}, otherBefore, otherAfter)}
}

func verdict(t *testing.T, all []Verdict, test string) Verdict {
	t.Helper()
	for _, v := range all {
		if v.Test == test {
			if v.Words == "" {
				t.Errorf("%s has no words", test)
			}
			return v
		}
	}
	t.Fatalf("no verdict on %s", test)
	return Verdict{}
}

func TestJudge(t *testing.T) {
	const ms = time.Millisecond
	good := load{40, 1000, 10, 5 * ms}
	none := load{}
	few := func(n int) load { r := good; r.blocks = n; return r }
	failing := func(errors int) load { r := good; r.errors = errors; return r }
	slow := func(took time.Duration) load { r := good; r.took = took; return r }
	for name, c := range map[string]struct {
		after, before, otherAfter, otherBefore load
		errors, latency                        Kind
	}{
		"the same":                    {good, good, good, good, Good, Good},
		"too short":                   {few(10), good, few(10), good, None, None},
		"not watched before":          {good, none, good, good, None, None},
		"watched for too short":       {good, few(3), good, good, None, None},
		"no requests since":           {none, good, good, good, None, None},
		"control says nothing":        {good, good, none, none, None, None},
		"fails more":                  {failing(50), good, good, good, Bad, Good},
		"fails 2% more":               {failing(30), good, good, good, Bad, Good},
		"fails as much as is allowed": {failing(20), good, good, good, Good, Good},
		"always failed more":          {failing(50), failing(50), good, good, Good, Good},
		"all fail more":               {failing(50), good, failing(50), good, Good, Good},
		"fails less":                  {good, failing(50), good, good, Good, Good},
		"all fail":                    {failing(1000), good, good, good, Bad, Good},
		"slower":                      {slow(8 * ms), good, good, good, Good, Bad},
		"slower by a tenth":           {slow(5500 * time.Microsecond), good, good, good, Good, Good},
		"always slower":               {slow(8 * ms), slow(8 * ms), good, good, Good, Good},
		"all are slower":              {slow(8 * ms), good, slow(8 * ms), good, Good, Good},
		"faster":                      {slow(2 * ms), good, good, good, Good, Good},
	} {
		t.Run(name, func(t *testing.T) {
			all := Judge(wave(c.after, c.before, c.otherAfter, c.otherBefore), asked)
			for test, want := range map[string]Kind{"errors": c.errors, "latency": c.latency} {
				v := verdict(t, all, test)
				if v.Kind != want {
					t.Errorf("%s: %v, want %v: %s", test, v.Kind, want, v.Words)
				}
				if quiet := name != "too short" && v.Kind == None; v.Quiet != quiet {
					t.Errorf("%s: quiet is %v: %s", test, v.Quiet, v.Words)
				}
				if v.Kind != None && !(v.Low <= v.More && v.More <= v.High) {
					t.Errorf("%s: %v is not within %v and %v", test, v.More, v.Low, v.High)
				}
			}
		})
	}
}

// TestJudgeNumbers checks the measured values in verdicts.
func TestJudgeNumbers(t *testing.T) {
	w := wave(load{100, 1000, 35, 10 * time.Millisecond}, load{100, 1000, 10, 5 * time.Millisecond},
		load{100, 1000, 25, 5 * time.Millisecond}, load{100, 1000, 20, 5 * time.Millisecond})
	all := Judge(w, asked)
	e := verdict(t, all, "errors")
	for what, c := range map[string]struct{ got, want float64 }{
		"new": {e.New, 0.035}, "new before": {e.NewBefore, 0.01}, "control": {e.Control, 0.025},
		"control before": {e.ControlBefore, 0.02}, "more": {e.More, 0.02},
	} {
		if math.Abs(c.got-c.want) > 1e-6 {
			t.Errorf("%s: %v, want %v", what, c.got, c.want)
		}
	}
	l := verdict(t, all, "latency")
	if math.Abs(l.More-1) > 0.1 || math.Abs(l.New/l.NewBefore-2) > 0.1 || math.Abs(l.Control/l.ControlBefore-1) > 0.1 {
		t.Errorf("latency: %+v", l)
	}
	if e.Requests != 100_000 || !strings.Contains(e.Words, "3.5% of requests fail, 1.0% before") {
		t.Errorf("%d requests: %s", e.Requests, e.Words)
	}
}

// TestBurstsStopNothing checks that an Envoy that fails for less than a minute, for a
// reason of its own, stops nothing, whether at the beginning of a wave or later, and
// however often the wave is judged.
func TestBurstsStopNothing(t *testing.T) {
	for _, burst := range []struct{ from, blocks, errors int }{{0, 14, 200}, {0, 14, 240}, {8, 14, 150}, {25, 14, 200}, {-14, 14, 200}} {
		good := load{60, 1000, 10, 5 * time.Millisecond}
		w := wave(good, good, good, good)
		for i := range w.New[0].Blocks {
			if at := i - good.blocks; at >= burst.from && at < burst.from+burst.blocks {
				for p := range parts {
					w.New[0].Blocks[i].Parts[p] = Count{250, uint32(burst.errors / parts)}
				}
			}
		}
		for b := range good.blocks {
			w.Now = began.Add(BlockTime * time.Duration(b+1))
			if v := verdict(t, Judge(w, Thresholds{Waves: 4, Errors: asked.Errors}), "errors"); v.Kind == Bad {
				t.Errorf("a burst %+v stops it after %v: %s", burst, w.Now.Sub(began), v.Words)
				break
			}
		}
	}
}

// TestSevereErrorsAreSeenSoon checks that half a minute is enough if nearly all requests
// fail.
func TestSevereErrorsAreSeenSoon(t *testing.T) {
	good := load{60, 1000, 10, 5 * time.Millisecond}
	w := wave(good, good, good, good)
	for i := range w.New[0].Blocks {
		for p := range parts {
			w.New[0].Blocks[i].Parts[p] = Count{250, 2}
			if i >= good.blocks {
				w.New[0].Blocks[i].Parts[p].Errors = 240
			}
		}
	}
	for i := range w.Control {
		for b := range w.Control[i].Blocks {
			w.Control[i].Blocks[b].Parts = [parts]Count{{250, 2}, {250, 2}, {250, 2}, {250, 2}}
		}
	}
	for b := 1; ; b++ {
		w.Now = began.Add(BlockTime * time.Duration(b))
		if v := verdict(t, Judge(w, Thresholds{Waves: 4, Errors: asked.Errors}), "errors"); v.Kind == Bad {
			if took := w.Now.Sub(began); took > 30*time.Second || took < 20*time.Second {
				t.Errorf("seen after %v: %s", took, v.Words)
			}
			return
		}
		if b == good.blocks {
			t.Fatal("never seen")
		}
	}
}

func TestSilence(t *testing.T) {
	good := load{20, 1000, 10, 5 * time.Millisecond}
	for name, c := range map[string]struct {
		change func(*Wave)
		test   string
		want   Kind
	}{
		"silent":           {func(w *Wave) { w.New[0].Blocks = w.New[0].Blocks[:good.blocks] }, "silence", Bad},
		"silent, but away": {func(w *Wave) { w.New[0].Blocks, w.New[0].Away = w.New[0].Blocks[:good.blocks], true }, "silence", Good},
		"silent as all":    {silence, "silence", Good},
		"never heard of":   {func(w *Wave) { w.New[0].Blocks = nil }, "silence", Good},
	} {
		t.Run(name, func(t *testing.T) {
			w := wave(good, good, good, good)
			c.change(&w)
			if v := verdict(t, Judge(w, asked), c.test); v.Kind != c.want {
				t.Errorf("%v, want %v: %s", v.Kind, c.want, v.Words)
			}
		})
	}
}

func silence(w *Wave) {
	for _, cohort := range [][]Envoy{w.New, w.Control} {
		for i := range cohort {
			cohort[i].Blocks = cohort[i].Blocks[:20]
		}
	}
}

func TestReady(t *testing.T) {
	good := load{0, 1000, 10, 5 * time.Millisecond}
	for blocks, want := range map[int]bool{0: false, 1: false, 10: false, 60: true} {
		before := good
		before.blocks = blocks
		w := wave(load{}, before, load{}, before)
		w.Now = w.Began
		ok, words := w.Ready(asked)
		if ok != want || ok != (words == "") {
			t.Errorf("after %d blocks: %v %q", blocks, ok, words)
		}
		if !w.New[0].Since.Equal(began) {
			t.Error("the wave was changed")
		}
	}
	if ok, words := (Wave{Began: began, Now: began}).Ready(asked); ok || words == "" {
		t.Errorf("nobody: %v %q", ok, words)
	}
	if ok, _ := (Wave{Began: began, Now: began}).Ready(Thresholds{}); !ok {
		t.Error("without a test there is nothing to compare")
	}
}

// TestAlikeLatencies judges latencies of which all are equal, so that none is above a
// quantile.
func TestAlikeLatencies(t *testing.T) {
	for factor, want := range map[float64]Kind{1: Good, 1.1: Good, 1.6: Bad, 0.5: Good} {
		good := load{40, 1000, 10, 5 * time.Millisecond}
		w := wave(good, good, good, good)
		for _, cohort := range [][]Envoy{w.New, w.Control} {
			for i := range cohort {
				for b := range cohort[i].Blocks {
					took := 5 * time.Millisecond
					if b >= good.blocks && cohort[i].Node == "new-0" {
						took = time.Duration(factor * float64(took))
					}
					var all tally
					all.add(took, 1000)
					cohort[i].Blocks[b].Latencies = all.latencies()
				}
			}
		}
		if v := verdict(t, Judge(w, asked), "latency"); v.Kind != want {
			t.Errorf("%v times: %v: %s", factor, v.Kind, v.Words)
		}
	}
}
