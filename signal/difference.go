package signal

import "math"

// hits are how many of a block's requests count as bad, for one Envoy, before
// the wave or after its beginning. Where only a part is asked for, it is that;
// else part is negative.
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

// slower counts requests slower than the quantile was before the wave, for
// requests after its beginning times 2^(further/32): were they all slower by that,
// they would be as many as before. Of the bucket that the quantile is in a part
// counts, so that before the wave they are 1-p, even where all are about as quick.
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

// setQuantile finds where the quantile p was before the wave.
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

// enoughFor is how many requests a quantile takes to mean anything.
func enoughFor(p float64) int { return int(5 / (1 - p)) }

// grid says what one observation is: so many parts of a block, or whole blocks
// where parts is 0, taken together until they have enough to say.
type grid struct{ parts, together int }

// gridOf takes as much together as it takes for one request to be no more than a
// unit, in either cohort. What was before the wave decides.
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

// cells are how many observations so many blocks have.
func (g grid) cells(blocks int) int {
	if g.parts > 0 {
		blocks *= parts
	}
	return blocks / g.together
}

// differences are, for each pair of observations, by how much more the new
// cohort's share of bad requests grew than that of control. Where there is no
// control, it is by how much it grew. It is not a number where too little was told.
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

// difference is by how much a cohort's share of bad requests grew in a pair: of
// each Envoy its own, and of all the Mantel-Haenszel mean (Greenland and Robins
// 1985), which weighs each Envoy by what both of its sides have to say. So an
// Envoy that gets more of the traffic than before changes nothing, nor one that is
// quiet on one of the two.
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

// sum counts in one observation.
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
			part = parts - 1 - part // backwards, as the blocks
		}
		b, n := count(s, blocks[at], part, after)
		bad, of = bad+b, of+n
	}
	return bad, of
}
