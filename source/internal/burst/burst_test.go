package burst

import (
	"testing"
	"time"
)

func TestBurst(t *testing.T) {
	t.Parallel()
	const quiet, limit = 20 * time.Millisecond, 200 * time.Millisecond
	at := func(ms int) time.Time { return time.Unix(1, 0).Add(time.Duration(ms) * time.Millisecond) }
	for _, tc := range []struct {
		touched []int
		due     int
	}{
		{[]int{0}, 20},
		{[]int{0, 5, 15}, 35},
		{[]int{0, 190}, 200},
		{[]int{0, 500}, 200},
	} {
		var b Burst
		if b.Open() {
			t.Error("open before any change")
		}
		for _, ms := range tc.touched {
			b.Touch(at(ms))
		}
		if got := b.Due(quiet, limit); !b.Open() || !got.Equal(at(tc.due)) {
			t.Errorf("%v: due at %v, want %d ms", tc.touched, got.Sub(at(0)), tc.due)
		}
	}
}
