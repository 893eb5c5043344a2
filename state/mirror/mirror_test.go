package mirror

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/state"
	"wasmxds/state/statetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConform(t *testing.T) {
	statetest.Conform(t, func(t *testing.T) state.Store {
		o := options(newElsewhere(t, "1"), opened(t, filepath.Join(t.TempDir(), "state.db")))
		o.Shared, o.Whole = []string{""}, []string{"b/"}
		s, err := Open(t.Context(), o)
		must(t, err)
		return s
	})
}

func TestStartsFromCopy(t *testing.T) {
	e, dir := newElsewhere(t, "1"), t.TempDir()
	p := start(t, dir, e)
	must(t, p.apply("a/1=one", "rollout/base=v1"))
	p.settled()
	p.end()
	e.setAway(true)

	p = start(t, dir, e)
	if got := contents(t, p); got != "a/1=one rollout/base=v1" {
		t.Errorf("the copy is %q", got)
	}
	if s, owed := p.Status(), p.owed(p.marks); !s.Copy || s.Away == "" || owed != 0 {
		t.Errorf("%+v, %d owed", s, owed)
	}
	if err := p.apply("a/2=two"); !errors.Is(err, errUnsynced) {
		t.Errorf("written without the shared store: %v", err)
	}
	if owed := p.owed(p.marks); owed != 1 {
		t.Errorf("%d owed", owed)
	}
	p.end()

	p = start(t, dir, e)
	e.setAway(false)
	until(t, "when it is back", e.Store, "a/1=one a/2=two rollout/base=v1")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s := p.Status(); !s.Copy && s.Away == "" && p.owed(p.marks) == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%+v", s)
		}
	}
}

// TestWaits checks that a process without a copy doesn't start before it knows the content
// of the store.
func TestWaits(t *testing.T) {
	e := newElsewhere(t, "1")
	_, err := e.Apply(t.Context(), ops("a/1=one"))
	must(t, err)
	e.setAway(true)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Open(short, options(e, opened(t, filepath.Join(t.TempDir(), "state.db")))); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened: %v", err)
	}
	back := time.AfterFunc(200*time.Millisecond, func() { e.setAway(false) })
	defer back.Stop()
	p := start(t, t.TempDir(), e)
	if got := contents(t, p); got != "a/1=one" {
		t.Errorf("the copy is %q", got)
	}
}

// TestOthersWroteMeanwhile checks that pending entries are written if nobody else has
// written them, and that those that belong together are written together or not at all.
func TestOthersWroteMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name, others, want string
		restarts           bool // only after a restart: a running process writes again what it hasn't seen written
	}{
		{"nobody", "", "a/1=mine a/3=mine b/1=old rollout/1=mine rollout/3=mine", false},
		{"another entry", "b/1=theirs", "a/1=mine a/3=mine b/1=theirs rollout/1=mine rollout/3=mine", false},
		{"the same entry", "a/1=theirs", "a/1=theirs a/3=mine b/1=old rollout/1=mine rollout/3=mine", true},
		{"the one that was removed", "a/2=theirs", "a/1=mine a/2=theirs a/3=mine b/1=old rollout/1=mine rollout/3=mine", true},
		{"the one that is new", "a/3=theirs", "a/1=mine a/3=theirs b/1=old rollout/1=mine rollout/3=mine", true},
		{"removed", "-a/1", "a/3=mine b/1=old rollout/1=mine rollout/3=mine", true},
		{"one of a whole", "rollout/2=theirs", "a/1=mine a/3=mine b/1=old rollout/1=old rollout/2=theirs", false},
		{"one that is new of a whole", "rollout/4=theirs", "a/1=mine a/3=mine b/1=old rollout/1=old rollout/2=old rollout/4=theirs", false},
		{"one of a whole removed", "-rollout/2", "a/1=mine a/3=mine b/1=old rollout/1=mine rollout/3=mine", false},
		{"another of a whole removed", "-rollout/1", "a/1=mine a/3=mine b/1=old rollout/2=old", false},
		{"the same", "a/1=mine rollout/1=mine", "a/1=mine a/3=mine b/1=old rollout/1=mine rollout/3=mine", false},
	} {
		for _, restarted := range []bool{false, true} {
			if c.restarts && !restarted {
				continue
			}
			t.Run(fmt.Sprintf("%s, restarted=%t", c.name, restarted), func(t *testing.T) {
				e, dir := newElsewhere(t, "1"), t.TempDir()
				p := start(t, dir, e)
				must(t, p.apply("a/1=old", "a/2=old", "b/1=old", "rollout/1=old", "rollout/2=old"))
				p.settled()
				e.setAway(true)
				if err := p.apply("a/1=mine", "-a/2", "a/3=mine", "rollout/1=mine", "-rollout/2", "rollout/3=mine"); !errors.Is(err, errAway) {
					t.Fatal(err)
				}
				if restarted {
					p.end()
				}
				_, err := e.Store.Apply(t.Context(), ops(strings.Fields(c.others)...))
				must(t, err)
				e.setAway(false)
				if restarted {
					p = start(t, dir, e)
				} else {
					p.stale()
				}
				until(t, "shared", e.Store, c.want)
				until(t, "the copy", p, c.want)
			})
		}
	}
}

// TestHeardOfOthers checks that a process with pending entries that belong together gives
// them up when it hears that others have continued.
func TestHeardOfOthers(t *testing.T) {
	e := newElsewhere(t, "1")
	s, err := Open(t.Context(), options(e, opened(t, filepath.Join(t.TempDir(), "state.db"))))
	must(t, err)
	e.setAway(true)
	if _, err := s.Apply(t.Context(), ops("a/1=mine", "rollout/1=mine")); !errors.Is(err, errAway) {
		t.Fatal(err)
	}
	_, err = e.Store.Apply(t.Context(), ops("rollout/2=theirs"))
	must(t, err)
	e.setAway(false)
	for event, err := range e.Watch(t.Context(), "", s.heardOf()) {
		must(t, err)
		must(t, s.heard(t.Context(), []state.Event{event}))
		break
	}
	if s.owes("rollout/") || !s.owes("a/") {
		t.Errorf("%+v", s.marks)
	}
	must(t, s.ready(t.Context()))
	const want = "a/1=mine rollout/2=theirs"
	if got, there := contents(t, s), contents(t, e.Store); got != want || there != want {
		t.Errorf("here is %q, there %q", got, there)
	}
}

// TestBefore checks that state from before there was a shared store is copied to it, except
// entries that this has already, alone or, where they belong together, all of them.
func TestBefore(t *testing.T) {
	for _, c := range []struct{ there, want string }{
		{"", "a/1=mine b/1=mine rollout/1=mine"},
		{"a/1=theirs", "a/1=theirs b/1=mine rollout/1=mine"},
		{"rollout/2=theirs", "a/1=mine b/1=mine rollout/2=theirs"},
	} {
		e, dir := newElsewhere(t, "1"), t.TempDir()
		_, err := e.Apply(t.Context(), ops(strings.Fields(c.there)...))
		must(t, err)
		before := opened(t, filepath.Join(dir, "state.db"))
		_, err = before.Apply(t.Context(), ops("a/1=mine", "b/1=mine", "rollout/1=mine", "own/1=mine"))
		must(t, err)
		must(t, before.Close())
		p := start(t, dir, e)
		until(t, "shared", e.Store, c.want)
		until(t, "the copy", p, c.want)
		if own, err := p.o.Local.Get(t.Context(), "own/1"); err != nil || string(own.Value) != "mine" {
			t.Errorf("its own: %s, %v", own.Value, err)
		}
	}
}

// TestLost checks that an empty shared store is filled from the copy.
func TestLost(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir, newElsewhere(t, "1"))
	must(t, p.apply("a/1=one", "rollout/base=v1"))
	must(t, p.apply("a/2=two", "-a/1"))
	p.end()
	e := newElsewhere(t, "2")
	p = start(t, dir, e)
	until(t, "shared", e.Store, "a/2=two rollout/base=v1")
	must(t, p.apply("a/3=three"))
	until(t, "shared", e.Store, "a/2=two a/3=three rollout/base=v1")
}

func TestFollows(t *testing.T) {
	e := newElsewhere(t, "1")
	one, two := start(t, t.TempDir(), e), start(t, t.TempDir(), e)
	_, at, err := two.List(t.Context(), "")
	must(t, err)
	must(t, one.apply("a/1=one", "a/2=one"))
	until(t, "two", two, "a/1=one a/2=one")
	must(t, two.apply("-a/1", "rollout/1=two"))
	until(t, "one", one, "a/2=one rollout/1=two")
	var told []string
	for event, err := range two.Watch(t.Context(), "a/", at) {
		must(t, err)
		told = append(told, fmt.Sprintf("%s=%s gone=%t more=%t", event.Key, event.Value, event.Gone, event.More))
		if event.Gone {
			break
		}
	}
	if want := []string{"a/1=one gone=false more=true", "a/2=one gone=false more=false", "a/1= gone=true more=false"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
}

// TestDeposed checks that a leader's write that comes too late isn't in the copy either.
func TestDeposed(t *testing.T) {
	e := newElsewhere(t, "1")
	one, two := start(t, t.TempDir(), e), start(t, t.TempDir(), e)
	first, err := one.Lead(t.Context(), "waves")
	must(t, err)
	_, err = first.Store().Apply(t.Context(), ops("rollout/1=one", "rollout/2=one"))
	must(t, err)
	first.(term).Term.End() // it has not noticed
	second, err := two.Lead(t.Context(), "waves")
	must(t, err)
	defer second.End()
	if got := contents(t, second.Store()); got != "rollout/1=one rollout/2=one" {
		t.Errorf("who leads now finds %q", got)
	}
	_, err = second.Store().Apply(t.Context(), ops("rollout/1=two"))
	must(t, err)
	if _, err := first.Store().Apply(t.Context(), ops("rollout/2=late", "rollout/3=late")); !errors.Is(err, state.ErrDeposed) {
		t.Errorf("written too late: %v", err)
	}
	for _, s := range []state.Store{e.Store, one, two} {
		until(t, "there", s, "rollout/1=two rollout/2=one")
	}
}

// TestRefused checks that an entry that the shared store never accepts is kept locally, and
// doesn't keep others from being written.
func TestRefused(t *testing.T) {
	e := newElsewhere(t, "1")
	r := &refusing{elsewhere: e}
	o := options(e, opened(t, filepath.Join(t.TempDir(), "state.db")))
	o.Remote = r
	s, err := Open(t.Context(), o)
	must(t, err)
	w := state.NewWriter(s, o.Log)
	v := w.View("a/")
	v.PutBytes("1", []byte("one"))
	v.PutBytes("large", []byte("x"))
	must(t, v.Flush(t.Context()))
	if got, here := contents(t, e.Store), contents(t, s); got != "a/1=one" || here != "a/1=one a/large=x" {
		t.Errorf("there is %q, here %q", got, here)
	}
	must(t, s.sync(t.Context(), nil))
	must(t, s.sync(t.Context(), nil))
	if got := contents(t, s); got != "a/1=one a/large=x" {
		t.Errorf("later %q", got)
	}
}

type refusing struct{ *elsewhere }

func (r *refusing) Apply(ctx context.Context, ops []state.Op) (state.Revision, error) {
	for _, op := range ops {
		if op.Key == "a/large" {
			return 0, &state.RefusedError{Key: op.Key, Err: errors.New("too large")}
		}
	}
	return r.elsewhere.Apply(ctx, ops)
}

// TestRandom has three processes write, end, restart, and lose the shared store, and checks
// that all have the same content in the end, with every acknowledged write that nobody has
// overwritten.
func TestRandom(t *testing.T) {
	for seed := range uint64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 1))
			e := newElsewhere(t, "1")
			dirs := []string{t.TempDir(), t.TempDir(), t.TempDir()}
			running := make([]*process, len(dirs))
			for i, dir := range dirs {
				running[i] = start(t, dir, e)
			}
			written := map[string]string{} // by key, of keys that one process alone writes
			for n := range 120 {
				i := rng.IntN(len(dirs))
				switch rng.IntN(12) {
				case 0:
					e.setAway(true)
				case 1, 2, 3:
					e.setAway(false)
				case 4:
					running[i].end()
					running[i] = start(t, dirs[i], e)
				default:
					own, common := fmt.Sprintf("a/%d-%d", i, rng.IntN(3)), fmt.Sprintf("b/%d", rng.IntN(3))
					word := fmt.Sprintf("%s=%d", own, n)
					if rng.IntN(4) == 0 {
						word = "-" + own
					}
					err := running[i].apply(word, fmt.Sprintf("%s=%d", common, n))
					if err == nil {
						written[own] = word
					} else {
						delete(written, own) // it may be either
					}
				}
			}
			e.setAway(false)
			for _, p := range running {
				p.stale()
			}
			for end := time.Now().Add(60 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				want := contents(t, e.Store)
				if !slices.ContainsFunc(running, func(p *process) bool { return contents(t, p) != want || p.owed(p.marks) > 0 }) {
					break
				}
				if time.Now().After(end) {
					for _, p := range running {
						t.Errorf("%q, %+v", contents(t, p), p.Status())
					}
					t.Fatalf("shared is %q", want)
				}
			}
			there := strings.Fields(contents(t, e.Store))
			for key, word := range written {
				if word == "-"+key {
					if slices.ContainsFunc(there, func(w string) bool { return strings.HasPrefix(w, key+"=") }) {
						t.Errorf("%s is there, and was removed", key)
					}
				} else if !slices.Contains(there, word) {
					t.Errorf("%s is not in %q", word, there)
				}
			}
		})
	}
}
