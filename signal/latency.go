package signal

import (
	"math"
	"slices"
	"time"
)

// Latencies are counted in buckets, each of which reaches a 32nd of an octave further than
// the one before. A quantile is accurate to 1.1 %, and multiplying a latency by a factor
// moves it up by a number of buckets, which the test of latency relies on.
const (
	perOctave = 32
	fastest   = 16 * time.Microsecond // and below
	octaves   = 22                    // up to 67 s, and above
	buckets   = octaves * perOctave
)

// bucket returns the bucket of a latency.
func bucket(d time.Duration) uint16 {
	if d <= fastest {
		return 0
	}
	return uint16(min(math.Log2(float64(d)/float64(fastest))*perOctave, buckets-1))
}

// upper returns the latency at which a bucket ends.
func upper(b int) time.Duration {
	return time.Duration(float64(fastest) * math.Exp2(float64(b+1)/perOctave))
}

// further returns how many buckets a latency moves up, rounded up, when it grows by a
// share.
func further(more float64) int { return int(math.Ceil(math.Log2(1+more)*perOctave - 1e-9)) }

// factor returns the factor that corresponds to a number of buckets.
func factor(buckets int) float64 { return math.Exp2(float64(buckets) / perOctave) }

// Latencies counts requests by latency. The zero value is empty. It is a quantile sketch
// with relative error, like DDSketch (Masson, Rim, Lee 2019), with fixed buckets. It is
// immutable.
type Latencies struct {
	buckets []uint16 // non-empty ones, in order
	upTo    []uint32 // requests in each bucket and all before
}

// NewLatencies counts latencies.
func NewLatencies(all ...time.Duration) Latencies {
	var t tally
	for _, d := range all {
		t.add(d, 1)
	}
	return t.latencies()
}

// Count returns the number of requests.
func (l Latencies) Count() int {
	if len(l.upTo) == 0 {
		return 0
	}
	return int(l.upTo[len(l.upTo)-1])
}

// above returns the number of requests in buckets after b.
func (l Latencies) above(b int) int {
	i, _ := slices.BinarySearch(l.buckets, uint16(min(max(b+1, 0), math.MaxUint16)))
	if i == 0 {
		return l.Count()
	}
	return l.Count() - int(l.upTo[i-1])
}

// bucketAt returns the bucket of the quantile p: at most a share 1-p of requests is above
// it. l must not be empty.
func (l Latencies) bucketAt(p float64) int {
	rank := uint32(math.Ceil(p * float64(l.Count())))
	i, _ := slices.BinarySearch(l.upTo, max(rank, 1))
	return int(l.buckets[min(i, len(l.buckets)-1)])
}

// Quantile returns the latency that a share p of requests does not exceed; 0 if l is empty.
func (l Latencies) Quantile(p float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return upper(l.bucketAt(p))
}

// Merge returns the sum of all.
func Merge(all ...Latencies) Latencies {
	if len(all) == 1 {
		return all[0]
	}
	var t tally
	for _, l := range all {
		before := uint32(0)
		for i, b := range l.buckets {
			t[b] += l.upTo[i] - before
			before = l.upTo[i]
		}
	}
	return t.latencies()
}

// tally is a Latencies that is being counted.
type tally [buckets]uint32

func (t *tally) add(d time.Duration, n uint32) { t[bucket(d)] += n }

func (t *tally) latencies() Latencies {
	n := 0
	for _, c := range t {
		if c > 0 {
			n++
		}
	}
	if n == 0 {
		return Latencies{}
	}
	l := Latencies{make([]uint16, 0, n), make([]uint32, 0, n)}
	sum := uint32(0)
	for b, c := range t {
		if c > 0 {
			sum += c
			l.buckets = append(l.buckets, uint16(b))
			l.upTo = append(l.upTo, sum)
		}
	}
	return l
}
