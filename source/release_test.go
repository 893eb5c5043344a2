package source

import (
	"context"
	"errors"
	"testing"
)

// TestRelease checks that a removal that is held back is made when it is
// confirmed by its own id.
func TestRelease(t *testing.T) {
	data := t.TempDir()
	files := of(Dir, "a", filter("a", ""), "b", filter("b", ""), "c", filter("c", ""), "d", filter("d", ""))
	run := func(step func(j *Join, docs scripted, next func() Update)) {
		t.Helper()
		docs := make(scripted)
		joined(t, data, []Source{{Name: Dir, Base: "/defs", Discoverer: docs}}, func(j *Join, next func() Update) { step(j, docs, next) })
	}
	has := func(u Update, filters string, held Removal) {
		t.Helper()
		if filterNames(u) != filters || u.Held != held || (u.HeldID != "") != (held != Removal{}) {
			t.Errorf("filters %q, held %+v %q; want %q, %+v", filterNames(u), u.Held, u.HeldID, filters, held)
		}
	}
	first := ""
	run(func(j *Join, docs scripted, next func() Update) {
		docs <- Batch{Source: Dir, Whole: true, Docs: files}
		has(next(), "a b c d", Removal{})
		for _, id := range []string{"", "removal-123456789abc"} {
			if err := j.Release(t.Context(), id); !errors.Is(err, ErrNotHeld) {
				t.Errorf("%q of none: %v", id, err)
			}
		}
		docs <- Batch{Source: Dir, Whole: true, Docs: files[:1]}
		u := next()
		has(u, "a b c d", Removal{3, 4})
		first = u.HeldID
		docs <- Batch{Source: Dir, Whole: true, Docs: files[1:2]} // the same number, but others
		if u = next(); u.HeldID == first {
			t.Error("another removal has the same id")
		}
		has(u, "a b c d", Removal{3, 4})
		if err := j.Release(t.Context(), first); !errors.Is(err, ErrNotHeld) {
			t.Errorf("one that is another by now: %v", err)
		}
		docs <- Batch{Source: Dir, Whole: true, Docs: files[:1]}
		next()
	})
	run(func(j *Join, docs scripted, next func() Update) { // the same after a restart
		docs <- Batch{Source: Dir, Whole: true, Docs: files[:1]}
		u := next()
		has(u, "a b c d", Removal{3, 4})
		if u.HeldID != first {
			t.Errorf("it was %s before the restart, and is %s", first, u.HeldID)
		}
		if err := j.Release(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		has(next(), "a", Removal{})
		if err := j.Release(t.Context(), first); !errors.Is(err, ErrNotHeld) {
			t.Errorf("once more: %v", err)
		}
		docs <- Batch{Source: Dir, Whole: true, Docs: files}
		has(next(), "a b c d", Removal{})
		docs <- Batch{Source: Dir, Whole: true, Docs: files[:1]} // a confirmation does not apply to the next removal
		has(next(), "a b c d", Removal{3, 4})
		if err := j.Release(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		has(next(), "a", Removal{})
	})
	run(func(_ *Join, docs scripted, next func() Update) { // removed definitions do not come back
		docs <- Batch{Source: Dir, Whole: true, Docs: files[:1]}
		has(next(), "a", Removal{})
	})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(Join).Release(ended, first); !errors.Is(err, context.Canceled) {
		t.Errorf("without Run: %v", err)
	}
}
