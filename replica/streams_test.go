package replica

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fleet is a fleet of Envoys, each with a stream to one of several replicas.
type fleet struct {
	mu    sync.Mutex
	at    []int // streams of each server
	lives []bool
	moved int
}

// now returns how many streams each replica has, and how many were moved.
func (f *fleet) now() (at []int, moved int) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.at), f.moved
}

// held has the streams of one replica.
type held struct {
	f *fleet
	i int
}

func (h held) Len() int {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.at[h.i]
}

func (h held) Move(most int) int {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	n := min(most, h.f.at[h.i])
	h.f.at[h.i] -= n
	for k := range n {
		to := (h.i + 1 + k%(len(h.f.at)-1)) % len(h.f.at)
		if !h.f.lives[to] {
			to = h.i
		}
		h.f.at[to]++
	}
	h.f.moved += n
	return n
}

func (h held) Leave(most int) int { return h.Move(most) }

// TestStreamsSpread checks that streams become even when a replica returns, and that those
// of one that shuts down move to the others gradually.
func TestStreamsSpread(t *testing.T) {
	store := opened(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{at: []int{300, 300, 0}, lives: []bool{true, true, true}}
		var all []*Streams
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		for i, id := range []string{"a", "b", "c"} {
			r := NewRegistry(store, Member{ID: id, Address: id + ":1", Key: id}, discard)
			s := NewStreams(r, held{f, i}, discard)
			all = append(all, s)
			running.Go(func() { r.Run(ctx) })
			running.Go(func() { s.Run(ctx) })
		}
		all[0].Ready()
		all[1].Ready()
		time.Sleep(time.Minute)
		if _, moved := f.now(); moved > 0 {
			t.Errorf("%d were moved while the third was not ready", moved)
		}
		all[2].Ready()
		time.Sleep(time.Minute)
		at, moved := f.now()
		for i, n := range at {
			if n < 180 || n > 220 {
				t.Errorf("server %d has %d of 600", i, n)
			}
		}
		streams, share := all[2].Count()
		if len(streams) != 3 || streams["a"] < 180 || share < 190 || share > 210 {
			t.Errorf("they are %v, share %v", streams, share)
		}
		time.Sleep(10 * time.Minute)
		if _, now := f.now(); now != moved {
			t.Errorf("%d more were moved when all was even", now-moved)
		}

		began := time.Now()
		left := make(chan struct{})
		at, _ = f.now()
		first := at[1]
		go func() { defer close(left); all[1].Leave(ctx, 3*time.Second) }()
		time.Sleep(time.Second + leaveEvery/2)
		if at, _ = f.now(); at[1] < first/2 || at[1] > first*3/4 {
			t.Errorf("after one of three seconds %d are left of %d", at[1], first)
		}
		<-left
		if at, _ = f.now(); at[1] != 0 || time.Since(began) > 3*time.Second {
			t.Errorf("%d are left after %v", at[1], time.Since(began))
		}
		cancel()
		running.Wait()
	})
}

// TestStreamsAlone checks that a replica without others closes no stream, not even at
// shutdown, until there is another.
func TestStreamsAlone(t *testing.T) {
	store := opened(t)
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{at: []int{300, 0}, lives: []bool{true, false}}
		r := NewRegistry(store, Member{ID: "a", Address: "a:1", Key: "a"}, discard)
		s := NewStreams(r, held{f, 0}, discard)
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { r.Run(ctx) })
		running.Go(func() { s.Run(ctx) })
		s.Ready()
		time.Sleep(time.Minute)
		other := NewStreams(NewRegistry(store, Member{ID: "b", Address: "b:1", Key: "b"}, discard), held{f, 1}, discard)
		running.Go(func() {
			time.Sleep(20 * time.Second)
			if _, moved := f.now(); moved > 0 {
				t.Errorf("%d were moved though there was no other", moved)
			}
			f.mu.Lock()
			f.lives[1] = true
			f.mu.Unlock()
			running.Go(func() { other.registry.Run(ctx) })
			other.Ready()
		})
		s.Leave(ctx, time.Minute)
		if at, _ := f.now(); at[0] != 0 {
			t.Errorf("%d are left", at[0])
		}
		cancel()
		running.Wait()
	})
}
