package driver_test

import (
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/rollout"
	"wasmxds/rollout/driver"
)

// filters returns how many filters each Envoy of a server has; -1: no Envoy has anything.
func (s *server) filters() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan == nil {
		return -1
	}
	return len(s.plan.Base.Filters)
}

func hello() rollout.Wanted { return wanted("v1", nil) }
func both() rollout.Wanted {
	return wantedOf(map[string]string{"hello": "v1", "pinned": "v1"}, nil)
}

// lacked reports whether a server ever gave its Envoys fewer filters than that.
func (s *server) lacked(filters int) bool {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.all {
		if len(p.Base.Filters) < filters {
			return true
		}
	}
	return false
}

// TestStartsWithWhatOthersRun checks that a server that starts gives no Envoy less than
// what the leader's Envoys run, however long the write of that takes, even if it is never
// written.
func TestStartsWithWhatOthersRun(t *testing.T) {
	for name, slow := range map[string]time.Duration{"at once": 0, "after 2 s": 2 * time.Second, "after 20 s": 20 * time.Second, "never": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t)
				a := g.begin("A")
				a.Tell(hello())
				old := g.begin("B")
				old.Tell(hello())
				time.Sleep(5 * time.Second)
				g.shared.delay(slow)
				a.Tell(both())
				for a.filters() < 2 {
					time.Sleep(10 * time.Millisecond)
				}
				fresh := g.begin("C")
				fresh.Tell(both())
				old.Tell(both())
				time.Sleep(10 * time.Second)
				if fresh.lacked(2) {
					t.Error("one that starts gave its Envoys less than others have")
				}
				if n := old.filters(); n != 2 {
					t.Errorf("one that follows gives %d filters", n)
				}
				time.Sleep(time.Minute)
				for _, m := range []*member{old, fresh} {
					want := driver.Follows
					if slow == time.Hour {
						want = driver.Cares
					}
					if at := m.Standing().Stand; at != want || m.filters() != 2 {
						t.Errorf("in the end it %s, with %d filters", at, m.filters())
					}
				}
				g.shared.delay(0)
				time.Sleep(time.Minute)
				for _, m := range []*member{old, fresh} {
					if at := m.Standing().Stand; at != driver.Follows {
						t.Errorf("after all is written it %s", at)
					}
				}
				for _, m := range []*member{a, old, fresh} {
					m.end()
				}
			})
		})
	}
}

// TestStartsWhileLeaderIsLate checks that a server that starts gives Envoys nothing before
// the leader has answered, as long as there is a leader: it may read the state so slowly
// that it doesn't know yet who asks. The server uses what it has when it has waited for
// longer than anything may take.
func TestStartsWhileLeaderIsLate(t *testing.T) {
	for late, within := range map[time.Duration]time.Duration{
		4 * time.Second:  6 * time.Second,
		20 * time.Second: 22 * time.Second,
		time.Hour:        50 * time.Second,
	} {
		t.Run(late.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newGroup(t)
				a := g.begin("A")
				a.Tell(hello())
				time.Sleep(5 * time.Second)
				g.set(func() { a.late = late })
				g.begin("other").Tell(hello()) // else A need not wait for writes
				g.shared.delay(late)
				a.Tell(both())
				for a.filters() < 2 {
					time.Sleep(10 * time.Millisecond)
				}
				fresh := g.begin("B")
				fresh.Tell(both())
				began := time.Now()
				for fresh.filters() < 0 {
					if time.Since(began) > within {
						t.Fatalf("it gives nothing after %v", within)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if took := time.Since(began); took < min(late, 45*time.Second) {
					t.Errorf("it gave something after %v", took)
				}
				if late < time.Hour && fresh.lacked(2) {
					t.Error("it gave its Envoys less than others have")
				}
				if at := fresh.Standing().Stand; at != driver.Follows {
					t.Errorf("it %s", at)
				}
				g.set(func() { a.late = 0 })
				g.shared.delay(0)
				time.Sleep(time.Minute)
				for _, m := range g.servers {
					m.end()
				}
			})
		})
	}
}

// TestStartsBeforeLeaderIsThere checks that a server that starts while there is no leader
// waits for one that appears before it has given its Envoys anything.
func TestStartsBeforeLeaderIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		a.Tell(hello())
		time.Sleep(5 * time.Second)
		g.begin("other").Tell(hello()) // else A need not wait for writes
		g.set(func() { a.cut, a.late = true, 8*time.Second })
		g.shared.delay(8 * time.Second)
		a.Tell(both())
		for a.filters() < 2 {
			time.Sleep(10 * time.Millisecond)
		}
		fresh := g.begin("B")
		fresh.Tell(both())
		time.Sleep(2 * time.Second)
		g.set(func() { a.cut = false })
		time.Sleep(10 * time.Second)
		if n := fresh.filters(); n != 2 || fresh.lacked(2) {
			t.Errorf("it gives %d filters, or gave its Envoys less than others have", n)
		}
		for _, m := range g.servers {
			m.end()
		}
	})
}

// TestFollowersHaveItAtOnce checks that a change without a policy reaches the other servers
// together with the leader's Envoys, so that nothing is taken back if the leader is killed.
func TestFollowersHaveItAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		a.Tell(hello())
		b := g.begin("B")
		defer func() { b.end() }()
		b.Tell(hello())
		time.Sleep(5 * time.Second)
		g.shared.delay(20 * time.Millisecond)
		a.Tell(both())
		b.Tell(both())
		began := time.Now()
		for a.filters() < 2 {
			time.Sleep(time.Millisecond)
		}
		if n := b.filters(); n != 2 {
			t.Errorf("the other gives %d filters", n)
		}
		if took := time.Since(began); took > 25*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		g.kill(a)
	})
}

// TestAloneWritesBehind checks that nothing waits for the store if there is no other
// server.
func TestAloneWritesBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		defer func() { g.shared.delay(0); a.end() }()
		a.Tell(hello())
		time.Sleep(5 * time.Second)
		g.shared.delay(time.Hour)
		a.Tell(both())
		if n := a.filters(); n != 2 {
			t.Errorf("%d filters", n)
		}
	})
}

// TestStartsWithoutLeader checks that a server that can read the state, but reaches no
// leader, serves what is written.
func TestStartsWithoutLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		a := g.begin("A")
		defer func() { a.end() }()
		a.Tell(both())
		time.Sleep(5 * time.Second)
		g.set(func() { a.cut = true })
		b := g.begin("B")
		defer func() { b.end() }()
		b.Tell(both())
		time.Sleep(5 * time.Second)
		if n := b.filters(); n != 2 {
			t.Errorf("%d filters", n)
		}
	})
}
