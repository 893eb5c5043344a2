package module

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
)

// tester is a Tester whose verdict depends on the name of the first case and on
// the module.
type tester struct {
	mu     sync.Mutex
	runs   int
	refuse map[string]string // by the first case's name: the hash that fails; "*": any
	wait   chan struct{}     // "slow" runs end when it is closed
}

func (*tester) Key(tests []*definition.FilterTest) string {
	key := ""
	for _, t := range tests {
		key += t.Cases[0].Name + ","
	}
	return key
}

func (s *tester) Test(ctx context.Context, f *definition.Filter, m Info, tests []*definition.FilterTest) error {
	s.mu.Lock()
	s.runs++
	runs := s.runs
	s.mu.Unlock()
	var failed []definition.Problem
	for _, t := range tests {
		name := t.Cases[0].Name
		switch {
		case name == "slow":
			select {
			case <-s.wait:
			case <-ctx.Done():
				return ctx.Err()
			}
		case name == "busy" && runs < 3:
			return errors.New("tests: the machine is busy")
		case s.refuse[name] == "*" || s.refuse[name] == m.SHA256:
			failed = append(failed, definition.Problem{File: t.Pos.File, Line: t.Pos.Line, Field: "cases[0]", Message: name + ": got a, expected b"})
		}
	}
	if failed != nil {
		return &TestError{failed}
	}
	return nil
}

func testOf(filter, name string) *definition.FilterTest {
	return &definition.FilterTest{Filter: filter, Pos: definition.Position{File: "tests.yaml", Line: 7}, Cases: []definition.TestCase{{Name: name}}}
}

// tests sends a new set with tests to the resolver.
func (r *resolving) tests(f *definition.Filter, tests ...*definition.FilterTest) *Set {
	r.t.Helper()
	in := &definition.Set{Filters: []*definition.Filter{f}, Listeners: []*definition.Listener{{Name: "web"}}, Tests: tests}
	r.updates <- in
	return r.next(func(s *Set) bool { return len(s.Listeners) == 1 && s.Listeners[0] == in.Listeners[0] })
}

// TestTestsOfDefinitions checks that a new definition whose tests fail is not
// served, the previous one stays in use, and the problem has its position.
func TestTestsOfDefinitions(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	s := &tester{refuse: map[string]string{"fails": "*"}}
	r := resolve(t, Options{Runner: newTrials(), Tester: s})
	good := rooted("hello", origin.URL, "good")
	r.tests(good, testOf("hello", "passes"))
	r.until(Good, content)

	// The filter is the same; only the expectations are new.
	r.tests(good, testOf("hello", "passes"), testOf("hello", "fails"))
	got := r.until(Failed, content)
	want := fmt.Sprintf("its tests fail: tests.yaml:7: cases[0]: fails: got a, expected b; it keeps running %.12s", sumOf(content))
	if got.Definition != good || got.Reason != want {
		t.Errorf("got %q, want %q", got.Reason, want)
	}
	if p := r.last.Problems; len(p) != 1 || p[0].File != "tests.yaml" || p[0].Line != 7 || p[0].Warning {
		t.Errorf("%+v", p)
	}

	// A new definition with these tests is not served, either.
	changed := rooted("hello", origin.URL, "changed")
	r.tests(changed, testOf("hello", "fails"))
	if got := r.until(Failed, content); got.Definition != good {
		t.Errorf("%+v is served", got.Definition)
	}
	// Without them, and with failing tests of another filter, it is.
	r.tests(changed, testOf("other", "fails"))
	r.next(func(s *Set) bool { return s.Filters[0].State == Good && s.Filters[0].Definition == changed })
	if p := r.last.Problems; len(p) != 0 {
		t.Errorf("%+v", p)
	}
}

// TestTestsOfModules checks that each new module is tested as well.
func TestTestsOfModules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.wasm")
	put := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(path+".new", content, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	first, bad, last := filter("1"), filter("2"), filter("3")
	put(first)
	r := resolve(t, Options{Runner: newTrials(), Tester: &tester{refuse: map[string]string{"picky": sumOf(bad)}}})
	r.tests(wanted("hello", "file://"+path), testOf("hello", "picky"))
	r.until(Good, first)
	put(bad)
	if got := r.until(Failed, first); !strings.Contains(got.Reason, "its tests fail") {
		t.Error(got.Reason)
	}
	put(last)
	r.until(Good, last)
}

// TestNeverGood checks that a filter whose tests have never passed is not
// served at all.
func TestNeverGood(t *testing.T) {
	origin := newOrigin(t, gives(filter("x")))
	r := resolve(t, Options{Runner: newTrials(), Tester: &tester{refuse: map[string]string{"fails": "*"}}})
	abi := rooted("hello", origin.URL, "bad") // not started, but tested
	abi.Verify = definition.VerifyABI
	r.tests(abi, testOf("hello", "fails"))
	if got := r.until(Failed, nil); got.Ready() {
		t.Errorf("%+v", got)
	}
}

// TestTestsThatCannotRun checks that such tests are retried, and others run
// meanwhile.
func TestTestsThatCannotRun(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	s := &tester{wait: make(chan struct{})}
	r := resolve(t, Options{Runner: newTrials(), Tester: s})
	r.tests(rooted("hello", origin.URL, "good"), testOf("hello", "busy"))
	r.until(Good, content)
	if s.runs != 3 {
		t.Errorf("%d runs, want 3", s.runs)
	}
	slow, other := rooted("hello", origin.URL, "good"), rooted("other", origin.URL, "good")
	r.updates <- &definition.Set{Filters: []*definition.Filter{slow, other}, Tests: []*definition.FilterTest{testOf("hello", "slow")}}
	r.next(func(s *Set) bool {
		return len(s.Filters) == 2 && s.Filters[0].State == Fetching && s.Filters[1].State == Good
	})
	close(s.wait)
	r.next(func(s *Set) bool { return s.Filters[0].State == Good })
}

// TestTestsRemembered checks that passed tests are not repeated after a
// restart, unless they have changed.
func TestTestsRemembered(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	m := newMachine(t)
	for run, c := range []struct {
		test string
		want int
	}{{"a", 1}, {"a", 0}, {"b", 1}} {
		s := &tester{}
		m.options.Runner, m.options.Tester = newTrials(), s
		r := m.start()
		r.tests(rooted("hello", origin.URL, "good"), testOf("hello", c.test))
		r.until(Good, content)
		if s.runs != c.want {
			t.Errorf("start %d: tested %d times, want %d", run+1, s.runs, c.want)
		}
	}
}

// TestUnreadTests checks that, while tests that were never good can't be read,
// no new version of their filter is served.
func TestUnreadTests(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	r := resolve(t, Options{Runner: newTrials(), Tester: &tester{}, Settle: 10 * time.Second})
	hole := &definition.Hole{Kind: "FilterTest", Tests: "hello", Cause: definition.Problem{File: "tests.yaml", Line: 2, Message: "filter: is missing"}}
	give := func(f *definition.Filter, holes ...*definition.Hole) {
		r.updates <- &definition.Set{Filters: []*definition.Filter{f}, TestHoles: holes}
	}
	good := rooted("hello", origin.URL, "good")
	give(good)
	r.until(Good, content)
	give(good, hole) // unchanged
	r.until(Good, content)
	changed := rooted("hello", origin.URL, "changed")
	give(changed, hole)
	if got := r.until(Failed, content); got.Definition != good || !strings.Contains(got.Reason, "its tests can't be read: tests.yaml:2") {
		t.Errorf("%+v", got)
	}
	give(changed)
	r.next(func(s *Set) bool { return s.Filters[0].Definition == changed && s.Filters[0].State == Good })
}
