package queue

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestOrder checks that values that are added while nobody takes them arrive
// later, in order, with one token.
func TestOrder(t *testing.T) {
	q := New[int](0)
	for i := range 3 {
		q.Add(i)
	}
	<-q.Some()
	select {
	case <-q.Some():
		t.Error("a second token, with nothing new")
	default:
	}
	if got := q.Take(); !slices.Equal(got, []int{0, 1, 2}) {
		t.Errorf("took %v", got)
	}
	if got := q.Take(); len(got) > 0 {
		t.Errorf("took %v again", got)
	}
}

// TestNothingIsLost checks that a receiver that takes all values at each token
// gets everything.
func TestNothingIsLost(t *testing.T) {
	const each = 1000
	synctest.Test(t, func(t *testing.T) {
		q, end := New[[2]int](0), make(chan struct{})
		next := map[int]int{}
		go func() {
			for {
				select {
				case <-q.Some():
					for _, one := range q.Take() {
						who, n := one[0], one[1]
						if n != next[who] {
							t.Errorf("of %d came %d, want %d", who, n, next[who])
						}
						next[who]++
					}
				case <-end:
					return
				}
			}
		}()
		for who := range 4 {
			go func() {
				for i := range each {
					q.Add([2]int{who, i})
				}
			}()
		}
		synctest.Wait()
		close(end)
		synctest.Wait()
		for who := range 4 {
			if next[who] != each {
				t.Errorf("%d of %d of %d came", next[who], each, who)
			}
		}
	})
}

// TestRest checks that a receiver that rests is not woken, and then gets everything that
// was added meanwhile.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New[int](time.Second)
		woken := func() bool {
			select {
			case <-q.Some():
				return true
			default:
				return false
			}
		}
		began := time.Now()
		q.Add(0)
		if !woken() || !slices.Equal(q.Take(), []int{0}) {
			t.Fatal("the first value wakes nobody")
		}
		q.Add(1)
		q.Add(2)
		if woken() {
			t.Error("woken while it rests")
		}
		<-q.Some()
		if got := q.Take(); !slices.Equal(got, []int{1, 2}) || time.Since(began) != time.Second {
			t.Errorf("after %v, took %v", time.Since(began), got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if woken() {
			t.Error("woken with nothing to take")
		}
		q.Add(3)
		if !woken() {
			t.Error("a value after the rest wakes nobody")
		}
	})
}
