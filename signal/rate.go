package signal

import "time"

// rate is a token bucket: so many a second, and no more than a second's at once.
type rate struct {
	perSecond float64
	tokens    float64
	at        time.Time // when tokens was right; zero: it is full
}

// take takes up to n, and gives how many there were.
func (r *rate) take(now time.Time, n int) int {
	if r.at.IsZero() {
		r.tokens = r.perSecond
	} else if passed := now.Sub(r.at).Seconds(); passed > 0 {
		r.tokens = min(r.tokens+passed*r.perSecond, r.perSecond)
	}
	r.at = now
	n = min(n, int(r.tokens))
	r.tokens -= float64(n)
	return n
}

// give gives back what was not used.
func (r *rate) give(n int) { r.tokens = min(r.tokens+float64(n), r.perSecond) }
