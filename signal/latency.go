package signal

import (
	"math"
	"slices"
	"time"
)

// Latencies fall in buckets that each reach a 32nd of an octave further than the
// one before: a quantile is right to 1.1 %, and a latency times a factor is a
// number of buckets further up, which the test of latency rests on.
const (
	perOctave = 32
	fastest   = 16 * time.Microsecond // and all below
	octaves   = 22                    // up to 67 s, and all above
	buckets   = octaves * perOctave
)

// bucket is where a latency falls.
func bucket(d time.Duration) uint16 {
	if d <= fastest {
		return 0
	}
	return uint16(min(math.Log2(float64(d)/float64(fastest))*perOctave, buckets-1))
}

// upper is the latency at which a bucket ends.
func upper(b int) time.Duration {
	return time.Duration(float64(fastest) * math.Exp2(float64(b+1)/perOctave))
}

// further is how many buckets a latency moves up when it grows by a share, and
// no fewer.
func further(more float64) int { return int(math.Ceil(math.Log2(1+more)*perOctave - 1e-9)) }

// factor is what so many buckets are.
func factor(buckets int) float64 { return math.Exp2(float64(buckets) / perOctave) }

// Latencies count requests by how long they took. The zero value has none. They
// are a quantile sketch with relative error, as DDSketch is (Masson, Rim, Lee
// 2019), at fixed buckets. They don't change once they are made.
type Latencies struct {
	buckets []uint16 // that have any, in order
	upTo    []uint32 // requests in each and all before
}

// NewLatencies counts them.
func NewLatencies(all ...time.Duration) Latencies {
	var t tally
	for _, d := range all {
		t.add(d, 1)
	}
	return t.latencies()
}

// Count is how many there are.
func (l Latencies) Count() int {
	if len(l.upTo) == 0 {
		return 0
	}
	return int(l.upTo[len(l.upTo)-1])
}

// above is how many are in buckets after b.
func (l Latencies) above(b int) int {
	i, _ := slices.BinarySearch(l.buckets, uint16(min(max(b+1, 0), math.MaxUint16)))
	if i == 0 {
		return l.Count()
	}
	return l.Count() - int(l.upTo[i-1])
}

// bucketAt is where the quantile p is: no more than a share 1-p is above. There
// is one only where there are any.
func (l Latencies) bucketAt(p float64) int {
	rank := uint32(math.Ceil(p * float64(l.Count())))
	i, _ := slices.BinarySearch(l.upTo, max(rank, 1))
	return int(l.buckets[min(i, len(l.buckets)-1)])
}

// Quantile is the latency that a share p takes at most; 0 where there are none.
func (l Latencies) Quantile(p float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return upper(l.bucketAt(p))
}

// Merge gives what is in all of them.
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

// tally is Latencies while they are counted.
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
