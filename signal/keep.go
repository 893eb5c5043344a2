package signal

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"
)

// Keep encodes the signals of both cohorts from before the wave began, so that after a
// restart the wave is compared with the same ones: signals since then arrive again, these
// do not. For latencies it encodes exactly what the comparison at a quantile needs; if
// quantile is 0, latencies are not compared.
func (w Wave) Keep(quantile float64) []byte {
	a := w.started().align(quantile > 0)
	if quantile > 0 {
		a.setQuantile(quantile)
	}
	b := binary.AppendVarint(nil, w.Began.UnixNano())
	for _, cohort := range [][]series{a.new, a.control} {
		var all []Latencies
		for i := range cohort {
			all = append(all, cohort[i].baseline)
		}
		var marks []int
		if whole := Merge(all...); whole.Count() > 0 {
			marks = append(marks, whole.bucketAt(quantile))
		}
		b = binary.AppendUvarint(b, uint64(len(cohort)))
		for i := range cohort {
			b = cohort[i].keep(b, marks)
		}
	}
	return b
}

// keep encodes an Envoy's blocks, starting with the last one before the wave.
func (s *series) keep(b []byte, marks []int) []byte {
	b = binary.AppendUvarint(b, uint64(len(s.of.Node)))
	b = append(b, s.of.Node...)
	if s.comparable {
		marks = append(slices.Clip(marks), s.at)
	}
	known := slices.DeleteFunc(slices.Clone(s.before), func(b *Block) bool { return b == nil })
	b = binary.AppendUvarint(b, uint64(len(known)))
	for _, block := range known {
		l := Latencies{}
		if s.baseline.Count() > 0 {
			l = block.Latencies.lumped(marks)
		}
		b = appendBlock(b, &Block{block.Start, block.Parts, l})
	}
	return b
}

func appendBlock(b []byte, block *Block) []byte {
	b = binary.AppendVarint(b, block.Start.Unix())
	for _, p := range block.Parts {
		b = binary.AppendUvarint(b, uint64(p.Requests))
		b = binary.AppendUvarint(b, uint64(p.Errors))
	}
	l := &block.Latencies
	b = binary.AppendUvarint(b, uint64(len(l.buckets)))
	for i := range l.buckets {
		b = binary.AppendUvarint(b, uint64(l.buckets[i]))
		b = binary.AppendUvarint(b, uint64(l.upTo[i]))
	}
	return b
}

// AppendBlocks appends the complete encoding of blocks to b.
func AppendBlocks(b []byte, blocks []Block) []byte {
	b = binary.AppendUvarint(b, uint64(len(blocks)))
	for i := range blocks {
		b = appendBlock(b, &blocks[i])
	}
	return b
}

var errBlocks = errors.New("what an Envoy told can't be read")

// ReadBlocks decodes blocks that AppendBlocks encoded. It returns an error if they are not
// in order, or more than most.
func ReadBlocks(b []byte, most int) ([]Block, error) {
	r := reader{rest: b}
	var all []Block
	for range r.count(most) {
		next := r.block()
		r.failed = r.failed || !next.Start.Equal(next.Start.Truncate(BlockTime)) ||
			len(all) > 0 && !next.Start.After(all[len(all)-1].Start)
		all = append(all, next)
	}
	if r.failed || len(r.rest) > 0 {
		return nil, errBlocks
	}
	return all, nil
}

// lumped keeps only the numbers of requests in the buckets of marks, and between them.
func (l Latencies) lumped(marks []int) Latencies {
	var t tally
	before := uint32(0)
	for i, b := range l.buckets {
		to := buckets - 1
		for _, m := range marks {
			for _, end := range []int{m - 1, m} {
				if end >= int(b) {
					to = min(to, end)
				}
			}
		}
		t[to] += l.upTo[i] - before
		before = l.upTo[i]
	}
	return t.latencies()
}

var errKept = errors.New("what was told before the wave can't be read")

// Kept decodes what Keep encoded: a wave with the signals from before it began.
func Kept(b []byte) (Wave, error) {
	r := reader{rest: b}
	w := Wave{Began: time.Unix(0, r.int())}
	for _, cohort := range []*[]Envoy{&w.New, &w.Control} {
		for range r.count(MaxWatched) {
			*cohort = append(*cohort, r.envoy())
		}
	}
	if r.failed || len(r.rest) > 0 {
		return Wave{}, errKept
	}
	return w, nil
}

// reader decodes values. They are meaningless once it has failed.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.rest)
	r.took(n)
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.took(n)
	return v
}

func (r *reader) took(n int) {
	if n <= 0 {
		r.failed, r.rest = true, nil
		return
	}
	r.rest = r.rest[n:]
}

// count decodes the number of items that follow. It fails if there are more than most.
func (r *reader) count(most int) int {
	n := r.uint()
	if n > uint64(most) {
		r.failed, r.rest = true, nil
	}
	if r.failed {
		return 0
	}
	return int(n)
}

func (r *reader) envoy() Envoy {
	n := r.count(len(r.rest))
	n = min(n, len(r.rest))
	e := Envoy{Node: string(r.rest[:n])}
	r.rest = r.rest[n:]
	for range r.count(int(maxBefore/BlockTime) + 1) {
		e.Blocks = append(e.Blocks, r.block())
	}
	slices.Reverse(e.Blocks)
	return e
}

func (r *reader) block() Block {
	block := Block{Start: time.Unix(r.int(), 0)}
	for i := range block.Parts {
		block.Parts[i] = Count{Requests: uint32(r.uint()), Errors: uint32(r.uint())}
	}
	block.Latencies = r.latencies()
	return block
}

func (r *reader) latencies() Latencies {
	var l Latencies
	for range r.count(buckets) {
		b, upTo := r.uint(), r.uint()
		if n := len(l.buckets); b >= buckets || n > 0 && (b <= uint64(l.buckets[n-1]) || upTo <= uint64(l.upTo[n-1])) {
			r.failed, r.rest = true, nil
			return Latencies{}
		}
		l.buckets = append(l.buckets, uint16(b))
		l.upTo = append(l.upTo, uint32(upTo))
	}
	return l
}
