package signal

import "time"

// rate is a token bucket with a burst of one second.
type rate struct {
	perSecond float64
	tokens    float64
	at        time.Time // time of the last update of tokens; zero: it is full
}

// take takes up to n tokens, and returns how many it took.
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

// give returns unused tokens.
func (r *rate) give(n int) { r.tokens = min(r.tokens+float64(n), r.perSecond) }
