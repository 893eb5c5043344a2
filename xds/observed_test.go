package xds_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/state/statetest"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// observer records all observations, one a line.
type observer struct {
	fresh bool // also record new processes

	mu    sync.Mutex
	lines []string
}

func (o *observer) add(e xds.Observed) {
	if e.What == xds.Fresh && !o.fresh {
		return
	}
	line := []string{"connected", "gone", "restarted", "refused", "settled", "fresh"}[e.What] + " " + e.Node.ID
	switch e.What {
	case xds.Gone:
		if o.fresh && e.Had {
			line += " with something"
		}
	case xds.Settled:
		line += fmt.Sprintf(" %q", e.Choice)
	case xds.Refused:
		line += fmt.Sprintf(" %s %s: %s", e.Refusal.Type, e.Refusal.Name, e.Refusal.Message)
		if e.Besides {
			line += " (besides)"
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

// tells waits until exactly want was observed of a node, in this order, and removes it.
func (o *observer) tells(t *testing.T, node string, want ...string) {
	t.Helper()
	var got []string
	of := func() []string {
		o.mu.Lock()
		defer o.mu.Unlock()
		var lines []string
		for _, line := range o.lines {
			if words := strings.Fields(line); words[1] == node {
				lines = append(lines, strings.Replace(line, " "+node, "", 1))
			}
		}
		return lines
	}
	for deadline := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		if got = of(); len(got) >= len(want) {
			break
		}
		if time.Now().After(deadline) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("of %s it was told %q, want %q", node, got, want)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = slices.DeleteFunc(o.lines, func(line string) bool { return strings.Fields(line)[1] == node })
}

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// of returns the lines that contain all of the words.
func (l *logged) of(words ...string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(strings.Split(l.text.String(), "\n"), func(line string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	})
}

// fresh returns an Envoy that has just started, with modules only.
func fresh(t *testing.T, id string, delta bool) *envoy {
	e := newEnvoy(t, id, delta)
	for _, v := range []string{"v1", "v2", "v3"} {
		e.has(moduleOf("hello", v), moduleOf("other", v))
	}
	return e
}

// TestObserved checks the observations of an Envoy that connects, leaves, restarts, is up
// to date, and rejects something.
func TestObserved(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		c := newClock()
		s := start(t, xds.Options{Now: c.Now, Observe: o.add})
		s.publish(t, hello1)
		e := fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)

		// A change for it, and one that doesn't concern it.
		open := map[resource.Choice]string{"c": hello2, "c+d": hello2}
		s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c"})
		o.tells(t, "a", `settled "c"`)
		s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c+d"})
		o.tells(t, "a", `settled "c+d"`)
		s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c+d"}) // no difference for it
		s.publishTo(t, hello2, nil, nil)
		o.tells(t, "a", `settled ""`)

		// It reconnects, unchanged.
		e.leave()
		o.tells(t, "a", "gone")
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)

		// It restarts.
		e.leave()
		o.tells(t, "a", "gone")
		e = fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "restarted", `settled ""`)

		// It restarts hot: the old process stays for as long as that takes.
		next := fresh(t, "a", delta)
		next.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)
		e.leave()
		next.leave()
		o.tells(t, "a", "gone")

		// It returns after a long time.
		c.advance(20 * time.Minute)
		e = fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)

		// It rejects a listener, repeatedly.
		e.mu.Lock()
		e.refuse = func(t swap.Type, name string) string {
			if t == swap.Listener && name == "more" {
				return "more is bad"
			}
			return ""
		}
		e.mu.Unlock()
		s.publish(t, hello2+"listener more 9000 9001\n")
		o.tells(t, "a", "refused LDS more: more is bad")
		c.advance(20 * time.Second)
		eventually(t, "another NACK", func() bool { n, _ := s.node("a"); return n.NACKs[len(n.NACKs)-1].At.Equal(c.Now()) })
		o.tells(t, "a")
		s.publish(t, hello2)
		o.tells(t, "a", `settled ""`)
		s.publish(t, hello2+"listener more 9000 9001\n") // it is sent again
		o.tells(t, "a", "refused LDS more: more is bad")
	})
}

// TestObservedRefusal checks the observation of a rejected filter, whether the Envoy runs
// another version or starts with this one.
func TestObservedRefusal(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		var log logged
		c := newClock()
		s := start(t, xds.Options{Now: c.Now, Observe: o.add, Log: slog.New(slog.NewTextHandler(&log, nil))})
		s.publish(t, hello1)
		for _, who := range [][2]string{{"runs", "127.0.0.2"}, {"starts", "127.0.0.3"}} {
			id, addr := who[0], who[1]
			e := newEnvoy(t, id, delta)
			e.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
			if id == "runs" {
				e.connect(s.dial(t, addr))
				o.tells(t, id, "connected", `settled ""`)
				s.publish(t, hello2)
			} else {
				e.connect(s.dial(t, addr))
				o.tells(t, id, "connected")
			}
			told := func() bool { o.mu.Lock(); defer o.mu.Unlock(); return len(o.lines) > 0 }
			eventually(t, "a refusal is told", func() bool {
				for _, p := range []swap.Progress{swap.DownloadStarted, swap.DownloadDone} {
					s.downloaded(addr, moduleOf("hello", "v2"), p)
				}
				c.advance(100 * time.Millisecond)
				return told()
			})
			o.tells(t, id, "refused ECDS hello: Unable to create Wasm plugin hello")
			c.advance(20 * time.Second)
			eventually(t, "another NACK", func() bool { n, _ := s.node(id); return n.NACKs[len(n.NACKs)-1].At.Equal(c.Now()) })
			o.tells(t, id)
			if lines := log.of("level=WARN", "node="+id, "type=ECDS", "name=hello", `reason="Unable to create Wasm plugin hello"`); len(lines) != 1 {
				t.Errorf("it is logged %d times: %q", len(lines), lines)
			}
		}
	})
}

// TestObservedAcrossServers checks that a restart of an Envoy is noticed although there was
// no server at the time.
func TestObservedAcrossServers(t *testing.T) {
	var o observer
	dir := t.TempDir()
	process := statetest.Start(t, dir)
	s := start(t, xds.Options{State: process.Writer, Observe: o.add})
	s.publish(t, hello1)
	same, other := fresh(t, "same", true), fresh(t, "other", true)
	for _, e := range []*envoy{same, other} {
		e.connect(s.dial(t, ""))
		o.tells(t, e.id, "connected", `settled ""`)
	}
	s.end()
	for _, e := range []*envoy{same, other} {
		e.leave()
		o.tells(t, e.id, "gone")
	}
	process.End()

	s = start(t, xds.Options{State: statetest.Start(t, dir).Writer, Observe: o.add})
	s.publish(t, hello1)
	same.connect(s.dial(t, ""))
	o.tells(t, "same", "connected", `settled ""`)
	other = fresh(t, "other", true)
	other.connect(s.dial(t, ""))
	o.tells(t, "other", "connected", "restarted", `settled ""`)
}

// TestSameID checks that two Envoys with one ID are logged, but not one Envoy with two
// streams.
func TestSameID(t *testing.T) {
	var log logged
	s := start(t, xds.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	s.publish(t, hello1)
	for _, from := range []struct{ id, addr string }{{"same", "127.0.0.2"}, {"same", "127.0.0.3"}, {"hot", "127.0.0.4"}, {"hot", "127.0.0.4"}} {
		e := fresh(t, from.id, true)
		e.connect(s.dial(t, from.addr))
		e.ready()
	}
	if lines := log.of("level=WARN", "another Envoy has the same node id", "node=same", "peer=127.0.0.3:", "other=127.0.0.2:"); len(lines) != 1 {
		t.Errorf("two Envoys of one id are logged %d times", len(lines))
	}
	if lines := log.of("level=WARN", "node=hot"); len(lines) != 0 {
		t.Errorf("one Envoy with two streams: %q", lines)
	}
}

// TestFresh checks that an Envoy without resources that wasn't here recently is reported as
// such: it may have been connected to another server.
func TestFresh(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		o := observer{fresh: true}
		c := newClock()
		s := start(t, xds.Options{Now: c.Now, Observe: o.add})
		other := start(t, xds.Options{Now: c.Now, Observe: o.add})
		for _, s := range []*scene{s, other} {
			s.publish(t, hello1)
		}
		e := fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "fresh", `settled ""`)
		e.leave()
		o.tells(t, "a", "gone with something")
		e.connect(other.dial(t, "")) // it moves
		o.tells(t, "a", "connected", `settled ""`)
		e.leave()
		o.tells(t, "a", "gone with something")
		e = fresh(t, "a", delta)
		e.connect(other.dial(t, ""))
		o.tells(t, "a", "connected", "restarted", `settled ""`)
		e.leave()
		o.tells(t, "a", "gone with something")
		c.advance(20 * time.Minute)
		e = fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "fresh", `settled ""`)
	})
}

// TestObservedOnceMore checks that what an Envoy has, or rejects, is reported again if it
// was to have something else in between, and was never sent it: publications came faster
// than they could be fanned out. A change that was stopped and resumed waits for that.
func TestObservedOnceMore(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		for _, bad := range []bool{false, true} {
			var o observer
			busy, free := make(chan struct{}), make(chan struct{})
			var stop atomic.Bool
			s := start(t, xds.Options{Observe: func(e xds.Observed) {
				if o.add(e); e.Node.ID == "b" && stop.CompareAndSwap(true, false) {
					close(busy)
					<-free
				}
			}})
			s.publish(t, hello1)
			e, b := fresh(t, "a", delta), fresh(t, "b", delta)
			refused := "listener more is bad"
			e.refuse = func(t swap.Type, name string) string {
				if t == swap.Listener && name == "more" {
					return refused
				}
				return ""
			}
			for _, e := range []*envoy{e, b} {
				e.connect(s.dial(t, ""))
				o.tells(t, e.id, "connected", `settled ""`)
			}
			c, told := hello2, `settled "c"`
			if bad {
				c, told = hello2+"listener more 9000 9001\n", "refused LDS more: "+refused
			}
			open := map[resource.Choice]string{"c": c, "d": hello1}
			s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c"})
			o.tells(t, "a", told)

			// The fan-out of a change that only b has takes its time.
			stop.Store(true)
			s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c", "b": "d"})
			<-busy
			s.publishTo(t, hello1, open, map[string]resource.Choice{"b": "d"})
			s.publishTo(t, hello1, open, map[string]resource.Choice{"a": "c", "b": "d"})
			close(free)
			o.tells(t, "a", told)
		}
	})
}

// TestObservedAgain checks the same for a publication that whoever publishes passed over.
func TestObservedAgain(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		s := start(t, xds.Options{Observe: o.add})
		s.publish(t, hello1)
		e := fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)
		for range 2 {
			s.Publish(xds.Publication{Catalog: s.catalog, Again: true})
			o.tells(t, "a", `settled ""`)
			s.Publish(xds.Publication{Catalog: s.catalog})
		}
		s.publish(t, hello2)
		o.tells(t, "a", `settled ""`)
	})
}

// rejecting returns an Envoy that has just started and rejects listeners of these names.
func rejecting(t *testing.T, id string, delta bool, names ...string) *envoy {
	e := fresh(t, id, delta)
	e.has(moduleOf("extra", "v1"), moduleOf("extra", "v2"))
	e.refuse = func(t swap.Type, name string) string {
		if t == swap.Listener && slices.Contains(names, name) {
			return "listener " + name + " is bad"
		}
		return ""
	}
	return e
}

// TestObservedBesides checks that a change counts as in place on an Envoy that rejects
// something that the change does not touch, also after it has reconnected, and not on one
// that rejects what is changed.
func TestObservedBesides(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		s := start(t, xds.Options{Observe: o.add})
		more := "listener more\nfilter extra v1 more\n"
		s.publish(t, hello1+more)
		e := rejecting(t, "a", delta, "more", "third")
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "refused LDS more: listener more is bad")

		in := func(c resource.Choice, changed string) {
			s.publishTo(t, hello1+more, map[resource.Choice]string{c: changed}, map[string]resource.Choice{"a": c})
		}
		in("good", hello2+more)
		o.tells(t, "a", `settled "good"`)
		e.leave()
		o.tells(t, "a", "gone")
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "refused LDS more: listener more is bad (besides)", `settled "good"`)
		e.leave()
		o.tells(t, "a", "gone")
		e = rejecting(t, "a", delta, "more", "third") // another process
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "restarted", "refused LDS more: listener more is bad (besides)", `settled "good"`)

		s.publish(t, hello1+more) // it is undone
		o.tells(t, "a", `settled ""`)
		in("third", hello1+more+"listener third\n")
		o.tells(t, "a", "refused LDS third: listener third is bad")
		s.publish(t, hello1+more)
		o.tells(t, "a", `settled ""`)

		// A filter that runs nowhere, since its listener is rejected.
		in("extra", hello1+"listener more\nfilter extra v2 more\n")
		eventually(t, "the twin of extra", func() bool {
			n, _ := s.Node("a")
			return slices.ContainsFunc(n.Filters, func(f swap.FilterStatus) bool {
				return f.Name == "extra" && f.State == swap.Waiting && strings.Contains(f.Reason, "is ready in this Envoy")
			})
		})
		in("again", hello2+more)
		o.tells(t, "a", `settled "again"`)
	})
}

// TestObservedUndone checks that a change counts as undone on an Envoy that rejects something
// else only when nothing of it is left, also after the Envoy has reconnected.
func TestObservedUndone(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		c := newClock()
		s := start(t, xds.Options{Now: c.Now, Observe: o.add})
		base := hello1 + "listener more\n"
		s.publish(t, base)
		e := rejecting(t, "a", delta, "more")
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", "refused LDS more: listener more is bad")
		s.publishTo(t, base, map[resource.Choice]string{"c": hello2 + "listener more\n"}, map[string]resource.Choice{"a": "c"})
		o.tells(t, "a", `settled "c"`)

		e.mu.Lock()
		refuse, back := e.refuse, ""
		e.refuse = func(t swap.Type, name string) string {
			if t == swap.Extension && name == "primer/hello" && back == "" {
				return "Unable to create Wasm plugin hello"
			}
			return refuse(t, name)
		}
		e.mu.Unlock()
		s.publish(t, base)
		rejects := func() bool {
			c.advance(time.Second)
			n, _ := s.node("a")
			return len(n.NACKs) > 0 && strings.Contains(n.NACKs[len(n.NACKs)-1].Message, "plugin hello")
		}
		eventually(t, "it rejects the version before", rejects)
		e.leave()
		o.tells(t, "a", "gone")
		e.connect(s.dial(t, ""))
		eventually(t, "it rejects it again", rejects)
		o.tells(t, "a", "connected", "refused LDS more: listener more is bad (besides)")

		e.mu.Lock()
		back = "it takes it now"
		e.mu.Unlock()
		eventually(t, "it is undone", func() bool {
			c.advance(time.Second)
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.lines) > 0 && o.lines[len(o.lines)-1] == `settled a ""`
		})
	})
}

// TestObservedBesidesCrash checks that a change counts as in place on an Envoy that has an
// earlier version of a filter that crashes there and that the change does not touch.
func TestObservedBesidesCrash(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		var o observer
		s := start(t, xds.Options{Observe: o.add})
		s.publish(t, hello1)
		e := fresh(t, "a", delta)
		e.connect(s.dial(t, ""))
		o.tells(t, "a", "connected", `settled ""`)
		v1 := s.version(t, "a", "hello")
		s.publish(t, hello2)
		o.tells(t, "a", `settled ""`)
		eventually(t, "it goes back to v1", func() bool {
			s.Crashed("a", "hello")
			return s.version(t, "a", "hello") == v1
		})
		other := strings.Replace(hello2, "other v1", "other v2", 1)
		s.publishTo(t, hello2, map[resource.Choice]string{"other": other}, map[string]resource.Choice{"a": "other"})
		o.tells(t, "a", `settled "other"`)
		s.publishTo(t, hello1, map[resource.Choice]string{"hello": hello2}, map[string]resource.Choice{"a": "hello"})
		eventually(t, "it goes on with v1", func() bool { return s.filter("a", "other").State == swap.Running })
		s.publish(t, hello1)
		o.tells(t, "a", `settled ""`) // and not of the change that it can't have
	})
}
