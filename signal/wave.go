package signal

import "time"

// Wave contains the signals about a change in a wave: of the Envoys that have it, and of
// others.
//
// Control are Envoys for which nothing changes during the wave: those that do not have the
// change yet or, if there are none, those that have had it for long. Both cohorts should
// have been observed before the wave began, for as long as [Wave.Ready] requires.
type Wave struct {
	Began, Now   time.Time // from Began on, Envoys could have the change
	New, Control []Envoy
}

// Envoy contains the signals of one Envoy. Blocks come from [Counts]; the caller that
// follows the rollout adds the rest.
type Envoy struct {
	Node   string
	Since  time.Time // since when it has the change; zero: it does not
	Blocks []Block   // in order
	Away   bool      // it is not connected
}

// Thresholds says what stops a wave. Zero limits are not tested.
type Thresholds struct {
	Waves    int // of the rollout, 0: one; they share the error probability
	Errors   Limit
	Latency  Limit
	Quantile float64 // of latency, such as 0.99
}

// Limit is how much worse the new cohort may be: errors by a share of all requests (0.01),
// latency by a share of itself (0.25).
type Limit struct {
	More       float64
	Confidence float64 // such as 0.999
}

// tests returns how many tests share the error probability of a rollout.
func (t Thresholds) tests() int {
	n := 0
	for _, on := range []bool{t.Errors.More > 0, t.Latency.More > 0} {
		if on {
			n++
		}
	}
	return n
}

// alpha returns the error probability of one test in one wave.
func (t Thresholds) alpha(confidence float64) float64 {
	return (1 - confidence) / float64(max(t.Waves, 1)*max(t.tests(), 1))
}

// aligned contains the blocks of both cohorts in pairs: the first block after the wave's
// beginning with the last one before it, the second with the last but one, and so on. When
// those before it are used up, they are used again. What is the same in both blocks cancels
// out, whatever an Envoy is like.
type aligned struct {
	new, control []series
	pairs        int
	before       int // number of blocks before the wave that are used
}

// series contains one Envoy's blocks by their distance from the wave's beginning; nil: no
// requests.
type series struct {
	of            *Envoy
	since         int // index of the first of after that began with the change in place
	before, after []*Block
	baseline      Latencies // of before

	// The position of a quantile in baseline; see setQuantile.
	comparable bool
	at         int
	part       float64 // the part of that bucket that is above the quantile
}

// maxBefore is how far back blocks before a wave are used: older ones say little about now.
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

// zero returns the start of the first block that begins after the wave. The block in which
// the wave began is not used.
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

// place stores a block at an index.
func place(blocks *[]*Block, at int, b *Block) {
	if more := at + 1 - len(*blocks); more > 0 {
		*blocks = append(*blocks, make([]*Block, more)...)
	}
	(*blocks)[at] = b
}
