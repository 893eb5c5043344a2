package signal

import "time"

// Wave is what is known of a change in a wave: of the Envoys that it has come
// to, and of some that it has not.
//
// Control are Envoys for which nothing changes while the wave is looked at: those
// that have not got the change yet, or, where there are none, those that have had
// it for long. Both cohorts are to have been watched before the wave began, as
// [Wave.Ready] tells.
type Wave struct {
	Began, Now   time.Time // from Began on, Envoys could have the change
	New, Control []Envoy
}

// Envoy is what is known of one. Blocks come from [Counts]; who follows the rollout
// adds the rest.
type Envoy struct {
	Node   string
	Since  time.Time // it has had the change; zero: it has not
	Blocks []Block   // in order
	Away   bool      // it is not connected
}

// Thresholds say what ends a wave. What is zero is not looked at.
type Thresholds struct {
	Waves    int // that the rollout has, 0: one; confidence is shared among them
	Errors   Limit
	Latency  Limit
	Quantile float64 // of latency, as 0.99
}

// Limit is how much worse the new cohort may be: errors by a share of requests
// (0.01), latency by a share of itself (0.25).
type Limit struct {
	More       float64
	Confidence float64 // 0.999
}

// tests is how many share a rollout's chance to be stopped for nothing.
func (t Thresholds) tests() int {
	n := 0
	for _, on := range []bool{t.Errors.More > 0, t.Latency.More > 0} {
		if on {
			n++
		}
	}
	return n
}

// alpha is one test's share in one wave.
func (t Thresholds) alpha(confidence float64) float64 {
	return (1 - confidence) / float64(max(t.Waves, 1)*max(t.tests(), 1))
}

// aligned are the blocks of both cohorts, sorted into pairs: the
// first block after the wave's beginning with the last before it, the second with
// the last but one and so on; when those before it are used up, they are used
// again. What is alike in both blocks cancels, whatever an Envoy is like by itself.
type aligned struct {
	new, control []series
	pairs        int
	before       int // blocks before the wave that are used
}

// series is one Envoy's blocks by how far they are from the wave's beginning;
// nil: it told nothing.
type series struct {
	of            *Envoy
	since         int // the first of after that begins after it got the change
	before, after []*Block
	baseline      Latencies // of before

	// Where a quantile is in it; see setQuantile.
	comparable bool
	at         int
	part       float64 // of that bucket, which is above the quantile
}

// maxBefore is how long before a wave is looked at: what was long ago tells
// little of now.
const maxBefore = 20 * time.Minute

func (w Wave) align(latencies bool) aligned {
	var a aligned
	for i := range w.New {
		e := &w.New[i]
		if e.Since.IsZero() {
			continue // it can't tell of the change yet
		}
		s := w.series(e, latencies)
		if late := e.Since.Sub(w.zero()); late > 0 {
			s.since = int((late + BlockTime - 1) / BlockTime)
		}
		a.before = max(a.before, len(s.before))
		a.pairs = max(a.pairs, len(s.after))
		a.new = append(a.new, s)
	}
	for i := range w.Control {
		a.control = append(a.control, w.series(&w.Control[i], latencies))
	}
	if a.before == 0 {
		a.pairs = 0
	}
	return a
}

// zero is where the first block after the wave's beginning begins. The one in
// which that was is not looked at.
func (w Wave) zero() time.Time {
	at := w.Began.Truncate(BlockTime)
	if at.Before(w.Began) {
		at = at.Add(BlockTime)
	}
	return at
}

func (w Wave) series(e *Envoy, latencies bool) series {
	s := series{of: e}
	var before []Latencies
	last, zero := w.Began.Truncate(BlockTime), w.zero()
	for i := range e.Blocks {
		b := &e.Blocks[i]
		switch end := b.Start.Add(BlockTime); {
		case !end.After(last) && last.Sub(b.Start) <= maxBefore:
			place(&s.before, int(last.Sub(end)/BlockTime), b)
			if latencies {
				before = append(before, b.Latencies)
			}
		case !b.Start.Before(zero) && !end.After(w.Now):
			place(&s.after, int(b.Start.Sub(zero)/BlockTime), b)
		}
	}
	if len(before) > 0 {
		s.baseline = Merge(before...)
	}
	return s
}

// place puts a block into its place.
func place(blocks *[]*Block, at int, b *Block) {
	if more := at + 1 - len(*blocks); more > 0 {
		*blocks = append(*blocks, make([]*Block, more)...)
	}
	(*blocks)[at] = b
}
