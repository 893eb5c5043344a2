package xds_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/state/statetest"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestLastThatRan checks that a new Envoy that rejects the newest version gets the last one
// that others have run and that it accepts, and the newest when that is repaired.
func TestLastThatRan(t *testing.T) {
	const hello3 = "listener web\nfilter hello v3 web\nfilter other v1 web\n"
	const hello4 = "listener web\nfilter hello v4 web\nfilter other v1 web\n"
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		dir := t.TempDir()
		process := statetest.Start(t, dir)
		s := start(t, xds.Options{Now: c.Now, State: process.Writer})
		s.publish(t, hello1)
		a := s.up(t, "a", delta)
		a.has(moduleOf("hello", "v2"), moduleOf("hello", "v3"), moduleOf("hello", "v4"))
		v1 := s.version(t, "a", "hello")
		for _, text := range []string{hello2, hello3} { // both run on a
			s.publish(t, text)
			a.expect("ECDS primer/hello", "ECDS web#0=hello")
			s.settled(t, "a")
		}
		v3 := s.version(t, "a", "hello")

		// Another server reads it from the directory.
		eventually(t, "three versions of hello and one of other kept", func() bool { return kept(t, process) == "1 3" })
		s.end()
		a.leave()
		process.End()
		s = start(t, xds.Options{Now: c.Now, State: statetest.Start(t, dir).Writer})
		s.publish(t, hello3)
		if needed := s.Needed(); !slices.Contains(needed, moduleOf("hello", "v1")) {
			t.Errorf("the modules %q are needed, not that of hello's v1", needed)
		}

		b := newEnvoy(t, "b", delta) // has neither, and downloads both in vain
		b.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
		b.connect(s.dial(t, "127.0.0.2"))
		eventually(t, "b runs hello in v1", func() bool {
			for _, v := range []string{"v2", "v3"} {
				for _, progress := range []swap.Progress{swap.DownloadStarted, swap.DownloadDone} {
					s.downloaded("127.0.0.2", moduleOf("hello", v), progress)
				}
			}
			c.advance(100 * time.Millisecond)
			return s.version(t, "b", "hello") == v1
		})
		b.ready()
		eventually(t, "b's status tells what it refuses", func() bool {
			n, _ := s.node("b")
			for _, f := range n.Filters {
				if f.Name == "hello" && f.Wanted == v3 && f.State == swap.Failed && strings.Contains(f.Reason, "rejects") {
					return true
				}
			}
			s.downloaded("127.0.0.2", moduleOf("hello", "v3"), swap.DownloadStarted)
			s.downloaded("127.0.0.2", moduleOf("hello", "v3"), swap.DownloadDone)
			c.advance(100 * time.Millisecond)
			return false
		})

		b.has(moduleOf("hello", "v4"))
		s.publish(t, hello4)
		c.advance(time.Second)
		s.settled(t, "b")
	})
}

// kept returns how many versions are kept of each filter.
func kept(t *testing.T, p *statetest.Process) string {
	t.Helper()
	var counts []string
	for _, value := range p.Written(t, "proved/") {
		var versions []resource.Kept
		if err := json.Unmarshal([]byte(value), &versions); err != nil {
			t.Fatal(err)
		}
		counts = append(counts, strconv.Itoa(len(versions)))
	}
	slices.Sort(counts)
	return strings.Join(counts, " ")
}

// version returns the version of a filter that a node runs, or "".
func (s *scene) version(t *testing.T, node, filter string) string {
	t.Helper()
	n, _ := s.node(node)
	for _, f := range n.Filters {
		if f.Name == filter {
			return f.Running
		}
	}
	return ""
}
