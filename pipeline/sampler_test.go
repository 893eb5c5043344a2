package pipeline

import (
	"fmt"
	"maps"
	"testing"
)

// TestRates checks that an Envoy reports some hundred requests a second,
// whatever its load, and none when it is no longer watched.
func TestRates(t *testing.T) {
	for _, c := range []struct {
		perSecond int    // requests of the Envoy
		want      uint32 // final rate per million
	}{
		{0, allRequests},
		{10, allRequests},
		{900, 4 * firstRate},
		{9_000, firstRate},
		{1_000_000, 411},
	} {
		t.Run(fmt.Sprint(c.perSecond), func(t *testing.T) {
			told := map[string]uint32{}
			watched := []string{"edge-1"}
			s := newSampler(func() []string { return watched }, func(node string, rate uint32) uint32 {
				told[node] = rate
				return rate
			})
			s.look(false)
			if told["edge-1"] != firstRate || !s.sampling("edge-1") || s.sampling("edge-2") {
				t.Fatalf("at first %v", told)
			}
			for range 10 {
				s.sampled("edge-1", int(int64(c.perSecond)*int64(lookAtRates.Seconds())*int64(told["edge-1"])/allRequests))
				s.sampled("edge-2", 1_000_000) // not requested
				s.look(true)
			}
			if got := told["edge-1"]; got != c.want {
				t.Errorf("in the end %d", got)
			}
			watched = nil
			s.look(false)
			if !maps.Equal(told, map[string]uint32{"edge-1": 0}) || s.sampling("edge-1") {
				t.Errorf("when nobody looks %v", told)
			}
		})
	}
}

// TestManyRates checks that all Envoys together report at most some ten
// thousand requests a second.
func TestManyRates(t *testing.T) {
	var watched []string
	for i := range 64 {
		watched = append(watched, fmt.Sprint(i))
	}
	rates := map[string]uint32{}
	s := newSampler(func() []string { return watched }, func(node string, rate uint32) uint32 {
		rates[node] = rate
		return rate
	})
	s.look(false)
	var all int
	for range 10 {
		all = 0
		for _, node := range watched {
			n := int(2000 * lookAtRates.Seconds() * float64(rates[node]) / allRequests)
			s.sampled(node, n)
			all += n
		}
		s.look(true)
	}
	if perSecond := all / int(lookAtRates.Seconds()); perSecond > samplesPerSecond || perSecond < samplesPerSecond/10 {
		t.Errorf("%d samples a second", perSecond)
	}
}
