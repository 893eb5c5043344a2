package signal

import (
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// TestKeep checks that a wave gets the same verdicts after it was saved and restored.
func TestKeep(t *testing.T) {
	for _, limits := range []Thresholds{
		{Errors: Limit{0.01, 0.999}},
		{Errors: Limit{0.01, 0.999}, Latency: Limit{0.25, 0.999}, Quantile: 0.99},
		{Latency: Limit{0.25, 0.999}, Quantile: 0.5},
	} {
		w := someWave(rand.New(rand.NewPCG(1, 2)))
		whole := Judge(w, limits)
		b := w.Keep(limits.Quantile)
		kept, err := Kept(b)
		if err != nil {
			t.Fatal(err)
		}
		if !kept.Began.Equal(w.Began) || len(kept.New) != len(w.New) || len(kept.Control) != len(w.Control) {
			t.Fatalf("a wave of %d and %d that began at %v became one of %d and %d at %v", len(w.New), len(w.Control), w.Began, len(kept.New), len(kept.Control), kept.Began)
		}
		join := func(of, before []Envoy) {
			for i := range of {
				if of[i].Node != before[i].Node {
					t.Errorf("%q became %q", of[i].Node, before[i].Node)
				}
				all := before[i].Blocks
				for _, b := range of[i].Blocks {
					if !b.Start.Before(w.Began.Truncate(BlockTime)) {
						all = append(all, b)
					}
				}
				of[i].Blocks = all
			}
		}
		join(w.New, kept.New)
		join(w.Control, kept.Control)
		if got := Judge(w, limits); !reflect.DeepEqual(got, whole) {
			t.Errorf("with %+v: %+v, want %+v", limits, got, whole)
		}
		t.Logf("%d bytes", len(b))
		for n := range b { // truncated, or with another byte
			if _, err := Kept(b[:n]); err == nil {
				t.Fatalf("%d of %d bytes can be read", n, len(b))
			}
			if n > 2000 {
				break
			}
		}
		if _, err := Kept(append(b, 0)); err == nil {
			t.Error("more than it all can be read")
		}
	}
}

// FuzzKept checks that damaged data is an error, or a wave that can be judged.
func FuzzKept(f *testing.F) {
	w := someWave(rand.New(rand.NewPCG(3, 4)))
	w.New, w.Control = w.New[:1], w.Control[:1]
	f.Add(w.Keep(0.99))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := Kept(b)
		if err != nil {
			return
		}
		w.Now = w.Began.Add(time.Minute)
		for i := range w.New {
			w.New[i].Since = w.Began
		}
		Judge(w, asked)
	})
}

// someWave returns a wave of three Envoys and eight controls, five minutes before its
// beginning and two since, with some blocks missing.
func someWave(r *rand.Rand) Wave {
	w := Wave{Began: began.Add(1300 * time.Millisecond), Now: began.Add(2 * time.Minute)}
	envoy := func(name string, slower float64) Envoy {
		e := Envoy{Node: name}
		for at := w.Began.Truncate(BlockTime).Add(-5 * time.Minute); at.Before(w.Now); at = at.Add(BlockTime) {
			if r.IntN(20) == 0 {
				continue
			}
			b := Block{Start: at}
			var all []time.Duration
			for i := range b.Parts {
				n := 20 + r.IntN(200)
				b.Parts[i] = Count{uint32(n), uint32(r.IntN(n / 10))}
				for range n {
					all = append(all, time.Duration((1+r.ExpFloat64())*slower*float64(time.Millisecond)))
				}
			}
			b.Latencies = NewLatencies(all...)
			e.Blocks = append(e.Blocks, b)
		}
		return e
	}
	for i := range 3 {
		e := envoy(string(rune('a'+i)), 1+3*r.Float64())
		e.Since = w.Began.Add(time.Duration(i) * time.Second)
		w.New = append(w.New, e)
	}
	for i := range 8 {
		w.Control = append(w.Control, envoy(string(rune('m'+i)), 1+3*r.Float64()))
	}
	return w
}
