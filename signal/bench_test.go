package signal

import (
	"testing"
	"time"
)

// BenchmarkJudge judges a wave of 16 Envoys, with 16 controls, at 300 requests a second.
func BenchmarkJudge(b *testing.B) {
	good := load{60, 1200, 12, 5 * time.Millisecond}
	w := Wave{Began: began, Now: began.Add(BlockTime * 60), New: cohort("new", 16, began, good, good), Control: cohort("old", 16, time.Time{}, good, good)}
	for b.Loop() {
		Judge(w, asked)
	}
}

// BenchmarkReceive receives a message of a hundred samples.
func BenchmarkReceive(b *testing.B) {
	c := NewCounts()
	c.Watch([]string{"watched-1"}, time.Time{})
	now := time.Now()
	s := &Stream{receiver: NewReceiver(Options{Watched: func(string) bool { return true }, Sampled: c.Add, Now: func() time.Time { now = now.Add(time.Second); return now }}),
		speaker: &speaker{samples: rate{perSecond: samplesPerNode}}, id: identifier{node: "watched-1"}}
	message := encode(b, httpMessage("", "", "", repeated(good, 100)...))
	b.SetBytes(int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Receive(message); err != nil {
			b.Fatal(err)
		}
	}
}
