package queue

import (
	"slices"
	"testing"
	"testing/synctest"
)

// TestOrder checks that values that are added while nobody takes them arrive
// later, in order, with one token.
func TestOrder(t *testing.T) {
	q := New[int]()
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
		q, end := New[[2]int](), make(chan struct{})
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
