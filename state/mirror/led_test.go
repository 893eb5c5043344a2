package mirror

import (
	"errors"
	"testing"
)

// TestLed checks that entries that may be written only in a term wait for one, and are
// given up on request, or if others have continued without them.
func TestLed(t *testing.T) {
	begin := func(t *testing.T) (*elsewhere, *process) {
		e, dir := newElsewhere(t, "1"), t.TempDir()
		_, err := e.Apply(t.Context(), ops("rollout/1=old"))
		must(t, err)
		o := options(e, opened(t, dir+"/state.db"))
		o.Led = []string{"rollout/"}
		p := run(t, o)
		if err := p.apply("a/1=mine", "rollout/1=mine", "rollout/2=mine"); !errors.Is(err, errUnled) {
			t.Fatal(err)
		}
		p.stale() // after the comparison it still owes the same
		until(t, "shared", e.Store, "a/1=mine rollout/1=old")
		until(t, "the copy", p, "a/1=mine rollout/1=mine rollout/2=mine")
		if st := p.Status(); st.Away != "" {
			t.Errorf("it takes the store to be away: %+v", st)
		}
		return e, p
	}
	t.Run("led", func(t *testing.T) {
		e, p := begin(t)
		term, err := p.Lead(t.Context(), "waves")
		must(t, err)
		defer term.End()
		until(t, "shared", e.Store, "a/1=mine rollout/1=mine rollout/2=mine")
		_, err = term.Store().Apply(t.Context(), ops("rollout/1=newer"))
		must(t, err)
		until(t, "shared", e.Store, "a/1=mine rollout/1=newer rollout/2=mine")
	})
	t.Run("others", func(t *testing.T) {
		e, p := begin(t)
		_, err := e.Apply(t.Context(), ops("rollout/3=theirs"))
		must(t, err)
		until(t, "the copy", p, "a/1=mine rollout/1=old rollout/3=theirs")
		term, err := p.Lead(t.Context(), "waves")
		must(t, err)
		defer term.End()
		until(t, "shared", e.Store, "a/1=mine rollout/1=old rollout/3=theirs")
	})
	t.Run("given up", func(t *testing.T) {
		e, p := begin(t)
		p.GiveUp("rollout/")
		until(t, "the copy", p, "a/1=mine rollout/1=old")
		until(t, "shared", e.Store, "a/1=mine rollout/1=old")
	})
}
