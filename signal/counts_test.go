package signal

import (
	"context"
	"sync"
	"testing"
	"time"
)

var began = time.Unix(1_800_000_000, 0).UTC()

func requests(n, errors int, took time.Duration) []Sample {
	all := make([]Sample, n)
	for i := range all {
		all[i] = Sample{Error: i < errors, Latency: took}
	}
	return all
}

func TestCounts(t *testing.T) {
	c := NewCounts()
	c.Watch([]string{"a", "b"}, began)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	c.Add("a", at(0), requests(10, 1, time.Millisecond))
	c.Add("a", at(1500*time.Millisecond), requests(5, 5, time.Second))
	c.Add("other", at(0), requests(10, 1, time.Millisecond))
	c.Add("a", at(9*time.Second), requests(3, 0, time.Millisecond))
	c.Add("a", at(7*time.Second), requests(1, 0, time.Millisecond)) // late
	e := c.Envoy("a", at(12*time.Second))
	if len(e.Blocks) != 2 || e.Node != "a" {
		t.Fatalf("%d blocks: %+v", len(e.Blocks), e)
	}
	first, second := e.Blocks[0], e.Blocks[1]
	if first.Parts != [parts]Count{{10, 1}, {5, 5}} || !first.Start.Equal(began) || first.Latencies.Count() != 15 {
		t.Errorf("the first block is %+v", first)
	}
	if second.Parts != [parts]Count{{1, 0}, {3, 0}} || !second.Start.Equal(at(8*time.Second)) {
		t.Errorf("the second block is %+v", second)
	}
	c.Add("a", at(13*time.Second), requests(1, 0, 0))
	if got := c.Envoy("a", at(13*time.Second)); len(got.Blocks) != 2 {
		t.Errorf("a block that has not ended is told: %+v", got.Blocks)
	}
	if got := c.Envoy("other", at(time.Minute)); len(got.Blocks) != 0 {
		t.Errorf("others are kept: %+v", got)
	}
	c.Watch([]string{"a"}, at(8*time.Second))
	if got := c.Envoy("a", at(13*time.Second)); len(got.Blocks) != 1 || c.nodes["b"] != nil {
		t.Errorf("after watching anew: %+v, %v", got.Blocks, c.nodes)
	}
	if len(e.Blocks) != 2 || !e.Blocks[0].Start.Equal(began) {
		t.Error("what was given before has changed")
	}
}

// TestCountsAreBounded checks that of a long wave the first and the last blocks are kept.
func TestCountsAreBounded(t *testing.T) {
	c := NewCounts()
	var all []string
	for i := range 2 * MaxWatched {
		all = append(all, string(rune('a'+i)))
	}
	c.Watch(all, began)
	if n := len(c.nodes); n != MaxWatched {
		t.Errorf("%d are watched", n)
	}
	blocks := 4 * maxBlocks
	for i := range blocks {
		c.Add("a", began.Add(time.Duration(i)*BlockTime), requests(2, i%2, time.Millisecond))
	}
	e := c.Envoy("a", began.Add(time.Duration(blocks)*BlockTime))
	if len(e.Blocks) != maxBlocks {
		t.Fatalf("%d blocks", len(e.Blocks))
	}
	for i, b := range e.Blocks {
		at := i
		if i >= firstBlocks {
			at = blocks - maxBlocks + i
		}
		if want := began.Add(time.Duration(at) * BlockTime); !b.Start.Equal(want) || b.Count().Requests != 2 {
			t.Fatalf("block %d is of %v, want %v: %+v", i, b.Start, want, b.Count())
		}
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	c := NewCounts()
	r := NewReceiver(Options{
		May:     func(context.Context, string, string) error { return nil },
		Watched: func(string) bool { return true }, Sampled: c.Add, Crashed: func(Crash) {},
	})
	nodes := []string{"a", "b"}
	c.Watch(nodes, time.Time{})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			log, e := SampleLog, good
			if i%2 == 1 {
				log, e = AlarmLog, alarm
			}
			s, err := r.Begin(t.Context(), encode(t, httpMessage(nodes[i/2], "edge", log, e)))
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Ended()
			for range 100 {
				if err := s.Receive(encode(t, httpMessage("", "", "", e, e))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		now := time.Now()
		w := Wave{Began: now.Add(-time.Second), Now: now, New: []Envoy{c.Envoy("a", now)}, Control: []Envoy{c.Envoy("b", now)}}
		w.New[0].Since = w.Began
		Judge(w, asked)
		c.Watch(nodes, time.Time{})
		r.Totals()
	}
	wg.Wait()
	if got := r.Totals(); got.Samples != 402 || got.Alarms == 0 || got.Streams != 0 {
		t.Errorf("totals %+v", got)
	}
}

// TestAddBlocks checks that blocks of a node from another server are added to the samples
// that were received here, in either order.
func TestAddBlocks(t *testing.T) {
	there, here := NewCounts(), NewCounts()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	for _, c := range []*Counts{there, here} {
		c.Watch([]string{"a"}, began)
	}
	there.Add("a", at(0), requests(10, 1, time.Millisecond))
	there.Add("a", at(9*time.Second), requests(4, 0, time.Second))
	here.Add("a", at(0), requests(5, 1, time.Second))
	here.Add("a", at(5*time.Second), requests(7, 0, time.Second))
	before := here.Envoy("a", at(6*time.Second)).Blocks
	taken := there.Take(at(12 * time.Second))
	blocks, err := ReadBlocks(AppendBlocks(nil, taken["a"]), 2)
	if err != nil {
		t.Fatal(err)
	}
	here.AddBlocks("a", blocks)
	here.AddBlocks("b", blocks)
	here.Add("a", at(10*time.Second), requests(1, 1, time.Millisecond))
	all := here.Envoy("a", at(12*time.Second)).Blocks
	if len(all) != 3 {
		t.Fatalf("%d blocks: %+v", len(all), all)
	}
	for i, want := range []Count{{15, 2}, {7, 0}, {5, 1}} {
		if got := all[i].Count(); got != want || all[i].Latencies.Count() != int(want.Requests) || !all[i].Start.Equal(at(BlockTime*time.Duration(i))) {
			t.Errorf("block %d has %+v, want %+v", i, all[i], want)
		}
	}
	if before[0].Count() != (Count{5, 1}) {
		t.Error("what was given before has changed")
	}
	if more := there.Take(at(time.Minute)); len(more) > 0 {
		t.Errorf("it is given once more: %v", more)
	}
	if len(here.Envoy("b", at(time.Minute)).Blocks) > 0 {
		t.Error("others are kept")
	}
}

// TestReadBlocks checks that blocks that are incomplete, unordered or misaligned are
// rejected.
func TestReadBlocks(t *testing.T) {
	some := []Block{{Start: began, Latencies: NewLatencies(time.Millisecond)}, {Start: began.Add(BlockTime)}}
	some[0].Parts[1] = Count{1, 1}
	b := AppendBlocks(nil, some)
	if _, err := ReadBlocks(b, 1); err == nil {
		t.Error("more than may be are read")
	}
	for n := range b {
		if _, err := ReadBlocks(b[:n], 2); err == nil {
			t.Errorf("%d of %d bytes can be read", n, len(b))
		}
	}
	for _, wrong := range [][]Block{{some[1], some[0]}, {some[0], some[0]}, {{Start: began.Add(time.Second)}}} {
		if _, err := ReadBlocks(AppendBlocks(nil, wrong), 2); err == nil {
			t.Errorf("%v can be read", wrong)
		}
	}
}
