package signal

import "math"

// hits returns how many of a block's requests are bad, for one Envoy, before or after the
// beginning of the wave. If part is not negative, it looks only at that part of the block.
type hits func(s *series, b *Block, part int, after bool) (bad float64, of int)

// failures counts failed requests.
func failures(_ *series, b *Block, part int, _ bool) (bad float64, of int) {
	c := Count{}
	if part < 0 {
		c = b.Count()
	} else {
		c = b.Parts[part]
	}
	return float64(c.Errors), int(c.Requests)
}

// slower counts the requests that are slower than the quantile was before the wave, for
// requests after its beginning multiplied by 2^(further/32): if all requests became slower
// by that factor, the count would not change. It counts a fraction of the bucket that
// contains the quantile, so that the share before the wave is 1-p even if all latencies are
// about the same.
func slower(further int) hits {
	return func(s *series, b *Block, _ int, after bool) (bad float64, of int) {
		if !s.comparable {
			return 0, 0
		}
		at := s.at
		if after {
			at += further
		}
		above := b.Latencies.above(at)
		return float64(above) + s.part*float64(b.Latencies.above(at-1)-above), b.Latencies.Count()
	}
}

// setQuantile determines the quantile p of each Envoy before the wave.
func (a *aligned) setQuantile(p float64) {
	for _, cohort := range [][]series{a.new, a.control} {
		for i := range cohort {
			s := &cohort[i]
			n := s.baseline.Count()
			if s.comparable = n >= enoughFor(p); !s.comparable {
				continue
			}
			s.at = s.baseline.bucketAt(p)
			above := s.baseline.above(s.at)
			s.part = ((1-p)*float64(n) - float64(above)) / float64(s.baseline.above(s.at-1)-above)
		}
	}
}

// enoughFor returns how many requests are needed to determine a quantile.
func enoughFor(p float64) int { return int(5 / (1 - p)) }

// grid defines an observation: a number of consecutive parts of blocks, or of whole blocks
// if parts is 0, that are added up.
type grid struct{ parts, together int }

// gridOf returns a grid in which one request changes the share of a cohort by at most one
// unit, in either cohort, judged by the blocks before the wave.
func (a *aligned) gridOf(unit float64, inParts bool) grid {
	g := grid{together: 1}
	cells := a.before
	if inParts {
		g.parts = 1
		cells *= parts
	}
	for _, cohort := range [][]series{a.new, a.control} {
		requests := 0
		for i := range cohort {
			requests += requestsOf(cohort[i].before)
		}
		if requests > 0 {
			g.together = max(g.together, int(math.Ceil(float64(cells)/(unit*float64(requests)))))
		}
	}
	return g
}

// cells returns how many observations that many blocks have.
func (g grid) cells(blocks int) int {
	if g.parts > 0 {
		blocks *= parts
	}
	return blocks / g.together
}

// differences returns, for each pair of observations, how much more the share of bad
// requests grew in the new cohort than in control, or, without a control, how much it grew.
// It is NaN if there are too few requests.
func (a *aligned) differences(g grid, inNew, inControl hits) []float64 {
	if g.cells(a.before) == 0 {
		return nil
	}
	all := make([]float64, g.cells(a.pairs))
	for i := range all {
		grew, ok := a.difference(a.new, i, g, inNew)
		if ok && len(a.control) > 0 {
			var anyway float64
			anyway, ok = a.difference(a.control, i, g, inControl)
			grew -= anyway
		}
		if !ok {
			grew = math.NaN()
		}
		all[i] = grew
	}
	return all
}

// difference returns how much a cohort's share of bad requests grew in a pair. Each Envoy
// is compared with itself, and the result is the Mantel-Haenszel mean (Greenland and Robins
// 1985), which weighs each Envoy by the requests on both sides. The result therefore does
// not change if an Envoy gets more of the traffic than before, or none on one side.
func (a *aligned) difference(cohort []series, i int, g grid, count hits) (grew float64, ok bool) {
	var sum, weights float64
	for k := range cohort {
		s := &cohort[k]
		bad, of := s.sum(s.after, i, g, count, true)
		was, wasOf := s.sum(s.before, i%g.cells(a.before), g, count, false)
		if of == 0 || wasOf == 0 {
			continue
		}
		n, m := float64(of), float64(wasOf)
		weight := n * m / (n + m)
		sum += weight * (bad/n - was/m)
		weights += weight
	}
	if weights == 0 {
		return 0, false
	}
	return sum / weights, true
}

// sum counts bad and all requests in one observation.
func (s *series) sum(blocks []*Block, i int, g grid, count hits, after bool) (bad float64, of int) {
	for c := i * g.together; c < (i+1)*g.together; c++ {
		at, part := c, -1
		if g.parts > 0 {
			at, part = c/parts, c%parts
		}
		if at >= len(blocks) || blocks[at] == nil || after && at < s.since {
			continue
		}
		if !after && part >= 0 {
			part = parts - 1 - part // backwards, like the blocks
		}
		b, n := count(s, blocks[at], part, after)
		bad, of = bad+b, of+n
	}
	return bad, of
}
