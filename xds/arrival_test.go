package xds_test

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestArrival checks that the log reports once when a change is in force on all Envoys that
// it is for, and not while one lacks it.
func TestArrival(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var log logged
		s := start(t, xds.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		logs := func(want int, parts ...string) {
			t.Helper()
			parts = append(parts, "the change is on all Envoys that it is for")
			eventually(t, fmt.Sprintf("%d lines %q", want, parts), func() bool { return len(log.of(parts...)) == want })
		}
		s.publish(t, hello1)
		var all []*envoy
		for _, id := range []string{"a", "b", "c"} {
			e := fresh(t, id, delta)
			e.has(moduleOf("hello", "v2"))
			e.connect(s.dial(t, ""))
			s.settled(t, id)
			all = append(all, e)
		}
		logs(0)
		s.publish(t, hello2)
		logs(1, "level=INFO", "envoys=3", "after=")

		// One rejects a listener. The version that it keeps is no reason to wait for it.
		bad := all[1]
		bad.mu.Lock()
		bad.refuse = func(t swap.Type, name string) string {
			if t == swap.Listener && name == "more" {
				return "more is bad"
			}
			return ""
		}
		bad.mu.Unlock()
		s.publish(t, hello2+"listener more 9000 9001\n")
		logs(1, "level=WARN", "envoys=2", "reject=1")

		// It disconnects while a change is on its way to it.
		answers := make(chan struct{})
		bad.mu.Lock()
		bad.refuse = func(swap.Type, string) string { <-answers; return "" }
		bad.mu.Unlock()
		s.publish(t, hello2+"listener other 9002 9003\n")
		for _, id := range []string{"a", "c"} {
			s.settled(t, id)
		}
		logs(0, "level=INFO", "envoys=2")
		bad.cancel()
		logs(1, "level=INFO", "envoys=2")
		close(answers)
	})
}

// TestArrivalOfSeveral checks that an Envoy that gets several changes while another lacks
// the first counts once.
func TestArrivalOfSeveral(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var log logged
		s := start(t, xds.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.publish(t, hello1)
		answers := make(chan struct{})
		answer := sync.OnceFunc(func() { close(answers) })
		defer answer()
		for _, id := range []string{"quick", "slow"} {
			e := fresh(t, id, delta)
			e.connect(s.dial(t, ""))
			s.settled(t, id)
			if id == "slow" {
				e.mu.Lock()
				e.refuse = func(swap.Type, string) string { <-answers; return "" }
				e.mu.Unlock()
			}
		}
		text := hello1
		for i, name := range []string{"one", "two"} {
			text += fmt.Sprintf("listener %s %d %d\n", name, 9002+i, 9102+i)
			s.publish(t, text)
			eventually(t, "the quick one has "+name, func() bool {
				n, _ := s.node("quick")
				return slices.ContainsFunc(n.Listeners, func(l swap.ListenerStatus) bool { return l.Name == name && l.Running == l.Wanted })
			})
		}
		answer()
		const line = "the change is on all Envoys that it is for"
		eventually(t, "both changes are everywhere", func() bool { return len(log.of(line, "envoys=2")) == 1 })
		if all := log.of(line); len(all) != 1 {
			t.Errorf("the log has %q", all)
		}
	})
}
