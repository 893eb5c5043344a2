package xds_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestCrashed checks that a crashed VM is replaced by a push to its slot, and that a
// version that keeps crashing is replaced by the previous one, on that Envoy alone, also
// after it reconnects, until another version is wanted.
func TestCrashed(t *testing.T) {
	const hello3 = "listener web\nfilter hello v3 web\nfilter other v1 web\n"
	both(t, func(t *testing.T, delta bool) {
		var crashed, replaced atomic.Int64
		s := start(t, xds.Options{Swapped: func(w xds.Swaps) {
			for c := range w.All() {
				switch {
				case c.Node != "a" || c.Filter != "hello":
				case c.Stage == swap.ChangeCrashed:
					crashed.Add(1)
				case c.Stage == swap.ChangeReplaced:
					replaced.Add(1)
				}
			}
		}})
		s.publish(t, hello1)
		a, b := s.up(t, "a", delta), s.up(t, "b", delta)
		v1 := s.version(t, "a", "hello")
		for _, e := range []*envoy{a, b} {
			e.has(moduleOf("hello", "v2"), moduleOf("hello", "v3"))
		}
		s.publish(t, hello2)
		for _, e := range []*envoy{a, b} {
			e.expect("ECDS primer/hello", "ECDS web#0=hello")
		}
		s.settled(t, "a")
		v2 := s.version(t, "a", "hello")

		s.Crashed("a", slotOf(t, a, "hello"))
		a.expect("ECDS web#0=hello")
		s.settled(t, "a")
		if f := s.filter("a", "hello"); f.Crashes == nil || f.Crashes.Count != 1 || f.Crashes.Replaced.IsZero() || f.Running != v2 {
			t.Errorf("after a crash: %+v %+v", f, f.Crashes)
		}
		eventually(t, "a goes back to v1", func() bool {
			s.Crashed("a", "hello")
			return s.version(t, "a", "hello") == v1
		})
		f := s.filter("a", "hello")
		if c := f.Crashes; f.Wanted != v2 || f.State != swap.Failed || !strings.Contains(f.Reason, "crashed too often") || c == nil || c.Version != v2 || c.Count != 3 || !c.WentBack {
			t.Errorf("it went back: %+v %+v", f, f.Crashes)
		}
		eventually(t, "three crashes are told", func() bool { return crashed.Load() == 3 && replaced.Load() == 2 })
		if n := s.filter("b", "hello"); n.Running != v2 || n.State != swap.Running || n.Crashes != nil {
			t.Errorf("another Envoy: %+v", n)
		}
		if _, count := s.Summary(); count["hello"].Failed != 1 || count["hello"].Running != 1 {
			t.Errorf("the summary: %+v", count["hello"])
		}

		// Something else changes, and then it reconnects.
		s.publish(t, strings.Replace(hello2, "other v1", "other v2", 1))
		for _, e := range []*envoy{a, b} {
			_ = e.leave() // canceled
			eventually(t, "it has left", func() bool { n, _ := s.node(e.id); return !n.AwaySince.IsZero() })
		}
		if s.Crashed("b", "hello") { // its log continues
			t.Error("b is away")
		}
		s.CrashedAway("b", "hello")
		for _, e := range []*envoy{a, b} {
			e.connect(s.dial(t, ""))
		}
		eventually(t, "a goes on with v1", func() bool {
			f := s.filter("a", "hello")
			return f.Running == v1 && f.Wanted == v2 && f.Crashes != nil && f.Crashes.WentBack && f.Crashes.Count == 3
		})
		eventually(t, "b has another VM", func() bool {
			f := s.filter("b", "hello")
			return f.Running == v2 && f.Crashes != nil && f.Crashes.Count == 1 && !f.Crashes.Replaced.IsZero()
		})

		s.publish(t, hello3)
		s.settled(t, "a")
		if f := s.filter("a", "hello"); f.Running == v1 || f.Running == v2 || f.Crashes != nil {
			t.Errorf("with another version: %+v %+v", f, f.Crashes)
		}
	})
}

// TestOldAlarm checks that an alarm that arrives while an Envoy is away has an effect if it
// returns soon, but not if it was away for long: another server may have replaced its VM.
func TestOldAlarm(t *testing.T) {
	for away, crashes := range map[time.Duration]int{10 * time.Second: 1, time.Minute: 0} {
		t.Run(away.String(), func(t *testing.T) {
			c := newClock()
			s := start(t, xds.Options{Now: c.Now})
			s.publish(t, hello1)
			a := s.up(t, "a", true)
			_ = a.leave() // canceled
			eventually(t, "it has left", func() bool { n, _ := s.node("a"); return !n.AwaySince.IsZero() })
			s.CrashedAway("a", "hello")
			c.advance(away)
			a.connect(s.dial(t, ""))
			s.settled(t, "a")
			if crashes > 0 {
				eventually(t, "its VM is replaced", func() bool { f := s.filter("a", "hello"); return f.Crashes != nil && f.Crashes.Count == crashes })
			} else if f := s.filter("a", "hello"); f.Crashes != nil {
				t.Errorf("%d crashes are told", f.Crashes.Count)
			}
		})
	}
}

// TestCrashesOfStrangers checks that alarms of unknown nodes are not kept.
func TestCrashesOfStrangers(t *testing.T) {
	s := start(t, xds.Options{})
	s.publish(t, hello1)
	s.Crashed("nobody", "hello")
	s.CrashedAway("nobody", "hello")
	a := newEnvoy(t, "nobody", true)
	a.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
	a.connect(s.dial(t, ""))
	s.settled(t, "nobody")
	if f := s.filter("nobody", "hello"); f.Crashes != nil {
		t.Errorf("%+v", f.Crashes)
	}
}

// filter returns the status of a filter of a node.
func (s *scene) filter(node, name string) swap.FilterStatus {
	n, _ := s.node(node)
	for _, f := range n.Filters {
		if f.Name == name {
			return f
		}
	}
	return swap.FilterStatus{}
}

// slotOf returns the name of the slot that e has for a filter.
func slotOf(t *testing.T, e *envoy, filter string) string {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range e.names[swap.Extension] {
		if strings.HasPrefix(name, "slot/") && strings.HasSuffix(name, "/0") {
			return name
		}
	}
	t.Fatalf("no slot for %s among %q", filter, e.names[swap.Extension])
	return ""
}
