package xds_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// publishTo publishes a base and choices, in the words of publish, and which nodes have
// which choice.
func (s *scene) publishTo(t testing.TB, base string, choices map[resource.Choice]string, of map[string]resource.Choice) {
	t.Helper()
	sets := resource.Sets{Choices: map[resource.Choice]*module.Set{}}
	sets.Base, _ = setOf(t, base)
	for choice, text := range choices {
		sets.Choices[choice], _ = setOf(t, text)
	}
	catalog, problems := resource.Compile(s.catalog, sets, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(problems.Base) > 0 || len(problems.Choices) > 0 {
		t.Fatal(problems)
	}
	s.catalog = catalog
	s.Publish(xds.Publication{Catalog: catalog, Choose: func(n definition.Node) resource.Choice { return of[n.ID] }})
}

// nothing fails the test if e was sent anything.
func (e *envoy) nothing() {
	e.t.Helper()
	select {
	case line := <-e.events:
		e.t.Errorf("%s was sent %q", e.id, line)
	default:
	}
}

// TestChoice checks that a change reaches only the Envoys that should have it, that they
// are sent nothing when it joins the base, and that they get the base again when it is
// undone.
func TestChoice(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		one, two := s.up(t, "one", delta), s.up(t, "two", delta)
		for _, e := range []*envoy{one, two} {
			e.has(moduleOf("hello", "v1"), moduleOf("hello", "v2"))
		}
		open := map[resource.Choice]string{"c": hello2}
		s.publishTo(t, hello1, open, map[string]resource.Choice{"one": "c"})
		one.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "one")
		s.settled(t, "two")

		// It is undone.
		s.publishTo(t, hello1, open, nil)
		one.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "one")
		two.nothing()

		// One gets it again, with a change that doesn't concern it. Then it joins.
		s.publishTo(t, hello1, open, map[string]resource.Choice{"one": "c"})
		one.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "one")
		two.nothing()
		s.publishTo(t, hello1, map[resource.Choice]string{"c": hello2, "c+d": hello2}, map[string]resource.Choice{"one": "c+d"})
		s.publishTo(t, hello2, nil, nil)
		two.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "two")
		one.nothing()

		// A new node gets its choice from the first response on.
		s.publishTo(t, hello1, map[resource.Choice]string{"c": hello2 + "listener more\n"}, map[string]resource.Choice{"three": "c"})
		three := newEnvoy(t, "three", delta)
		three.has(moduleOf("hello", "v2"), moduleOf("other", "v1"))
		three.connect(s.dial(t, ""))
		three.ready()
		s.settled(t, "three")
		if n, _ := s.node("three"); len(n.Listeners) != 2 {
			t.Errorf("it has the listeners %+v, want two", n.Listeners)
		}
	})
}

// TestAwayByChoice checks that the status of a node that is away shows what it would get by
// its choice.
func TestAwayByChoice(t *testing.T) {
	s := start(t, xds.Options{})
	s.publishTo(t, hello1, map[resource.Choice]string{"c": hello2}, map[string]resource.Choice{"one": "c"})
	wanted := map[string]string{}
	for _, id := range []string{"one", "two"} {
		e := newEnvoy(t, id, true)
		for _, v := range []string{"v1", "v2"} {
			e.has(moduleOf("hello", v), moduleOf("other", v))
		}
		e.connect(s.dial(t, ""))
		e.ready()
		s.settled(t, id)
		wanted[id] = s.version(t, id, "hello")
		e.leave()
	}
	if wanted["one"] == wanted["two"] {
		t.Fatal("both run the same")
	}
	for id, version := range wanted {
		eventually(t, id+" is away", func() bool { n, _ := s.node(id); return !n.AwaySince.IsZero() })
		n, _ := s.node(id)
		if n.Filters[0].Wanted != version {
			t.Errorf("%s is away, and is to have %s, want %s", id, n.Filters[0].Wanted, version)
		}
	}
}

// TestNobodyIsAhead checks that an Envoy that can't get the base's version isn't sent that
// of a change that has not reached it, whether the change is in progress or undone.
func TestNobodyIsAhead(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		s := start(t, xds.Options{Now: c.Now})
		s.publish(t, hello1)
		one := s.up(t, "one", delta)
		one.has(moduleOf("hello", "v2"))
		open := map[resource.Choice]string{"c": hello2}
		s.publishTo(t, hello1, open, map[string]resource.Choice{"one": "c"})
		one.expect("ECDS primer/hello", "ECDS web#0=hello")
		s.settled(t, "one")

		two := newEnvoy(t, "two", delta) // rejects v1, and would accept v2
		two.has(moduleOf("hello", "v2"), moduleOf("other", "v1"))
		two.connect(s.dial(t, "127.0.0.2"))
		refuses := func() {
			t.Helper()
			eventually(t, "two refuses v1", func() bool {
				for _, p := range []swap.Progress{swap.DownloadStarted, swap.DownloadDone} {
					s.downloaded("127.0.0.2", moduleOf("hello", "v1"), p)
				}
				c.advance(time.Second)
				n, _ := s.node("two")
				return strings.Contains(fmt.Sprint(n.Filters), "rejects")
			})
			for range 20 {
				c.advance(20 * time.Second)
				if v := s.version(t, "two", "hello"); v != "" {
					t.Fatalf("it runs hello in %s", v)
				}
			}
		}
		refuses()
		s.publishTo(t, hello1, nil, nil)
		one.expect("ECDS primer/hello", "ECDS web#0=hello")
		refuses()

		// The change joins the base after all.
		s.publishTo(t, hello2, nil, nil)
		eventually(t, "two runs v2", func() bool { c.advance(time.Second); return s.version(t, "two", "hello") != "" })
	})
}

// TestChoicesAtOnce changes the base, the changes in progress and their Envoys while Envoys
// join and leave. In the end each must have its choice, and its last observation must say
// so.
func TestChoicesAtOnce(t *testing.T) {
	var o observer
	s := start(t, xds.Options{Observe: o.add, CheckInvariants: true, Log: slog.New(failing{t})})
	texts := []string{hello1, hello2, hello1 + "listener more\n"}
	open := map[resource.Choice]string{"c": hello2, "d": hello1 + "listener more\n", "c+d": hello2 + "listener more\n"}
	s.publish(t, hello1)
	var envoys []*envoy
	for i := range 12 {
		envoys = append(envoys, fresh(t, fmt.Sprint("edge-", i), i%2 == 0))
	}
	r := rand.New(rand.NewPCG(1, 1))
	choose := func() map[string]resource.Choice {
		of := map[string]resource.Choice{}
		for _, e := range envoys {
			of[e.id] = []resource.Choice{"", "c", "d", "c+d", "unknown"}[r.IntN(5)]
		}
		return of
	}
	var coming sync.WaitGroup
	for i, e := range envoys {
		conn := s.dial(t, "")
		coming.Go(func() {
			e.connect(conn)
			for range i % 4 {
				e.drain(20)
				e.leave()
				e.connect(conn)
			}
		})
	}
	for range 40 {
		s.publishTo(t, texts[r.IntN(len(texts))], open, choose())
	}
	coming.Wait()
	last := choose()
	s.publishTo(t, hello1, open, last)
	for _, e := range envoys {
		choice, set := last[e.id], hello1
		if text := open[choice]; text != "" {
			set = text
		} else {
			choice = "" // which is what it has
		}
		want, listeners := compile(t, nil, set).Filter("hello").Version, strings.Count(set, "listener ")
		eventually(t, fmt.Sprintf("%s has what %q has", e.id, choice), func() bool {
			n, _ := s.node(e.id)
			if n.AwaySince.IsZero() && s.version(t, e.id, "hello") == want && len(n.Listeners) == listeners {
				o.mu.Lock()
				defer o.mu.Unlock()
				for _, line := range slices.Backward(o.lines) {
					if strings.Fields(line)[1] == e.id {
						return line == fmt.Sprintf("settled %s %q", e.id, choice)
					}
				}
			}
			return false
		})
	}
}

// drain reads up to the given number of lines that are there or come soon.
func (e *envoy) drain(lines int) {
	for range lines {
		select {
		case <-e.events:
		case <-time.After(10 * time.Millisecond):
			return
		}
	}
}

// failing fails a test for each error in the log.
type failing struct{ t *testing.T }

func (f failing) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelError }
func (f failing) Handle(_ context.Context, r slog.Record) error {
	f.t.Error(r.Message)
	return nil
}
func (f failing) WithAttrs([]slog.Attr) slog.Handler { return f }
func (f failing) WithGroup(string) slog.Handler      { return f }
