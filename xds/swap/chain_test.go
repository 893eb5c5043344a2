package swap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"wasmxds/resource"
)

// chainOf reads "_ a b ." as places: "_" is a spare, "." has no content yet, and
// "|" ends a gap.
func chainOf(text string) []place {
	var chain []place
	gap := 0
	for _, word := range strings.Fields(text) {
		switch word {
		case "|":
			gap++
		case "_":
			chain = append(chain, place{gap: gap, filled: true})
		case ".":
			chain = append(chain, place{gap: gap})
		default:
			chain = append(chain, place{gap: gap, holds: word, filled: true})
		}
	}
	return chain
}

func wantedOf(text string) resource.Chain {
	var wanted resource.Chain
	gap := 0
	for _, word := range strings.Fields(text) {
		if word == "|" {
			gap++
			continue
		}
		wanted = append(wanted, resource.Wanted{Filter: word, Gap: gap})
	}
	return wanted
}

func textOf(chain []place) string {
	words := make([]string, len(chain))
	for i, p := range chain {
		switch {
		case p.holds == outsider:
			words[i] = "x"
		case p.holds != "":
			words[i] = p.holds
		case p.filled:
			words[i] = "_"
		default:
			words[i] = "."
		}
		if i > 0 && chain[i-1].gap != p.gap {
			words[i] = "| " + words[i]
		}
	}
	return strings.Join(words, " ")
}

// TestSteps: what a chain holds after each step on its way to what is wanted.
func TestSteps(t *testing.T) {
	for _, c := range []struct{ name, chain, wanted, steps string }{
		{"a new listener has its spares outside", ". . . . . .", "a b", "_ _ a b _ _"},
		{"behind all others", "_ _ a b _ _", "a b c", "_ _ a b c _"},
		{"before all others", "_ _ a b _ _", "c a b", "_ c a b _ _"},
		{"between two", "_ _ a b _ _", "a c b", "a _ a b _ _ → a c _ b _ _"},
		{"in place of another of the same step", "_ _ a b _ _", "a c", "_ _ a x c _ → _ _ a _ c _"},
		{"to the front", "_ _ a b _ _", "b a", "_ b a b _ _ → _ b a _ _ _"},
		{"reversed", "_ _ a b c _ _", "c b a", "_ c a b c a _ → _ c _ b _ a _"},
		{"removed", "_ a b _", "b", "_ _ b _"},
		{"all removed", "_ a b _", "", "_ _ _ _"},
		{"into another gap, before one that moves, too", "a _ | b _", "b a |", "a a | b _ → b a | b _ → b a | _ _"},
		{"two change their gaps", "a _ _ | b _", "b | a", "a b _ | b a → _ b _ | _ a"},
		{"no room in the gap", "a | b _", "b a |", "does not fit"},
		{"to another gap", "a _ | b _", "| a b", "a _ | b b → a _ | a b → _ _ | a b"},
		{"no room", "a b", "a b c", "does not fit"},
		{"no order to be had", "a b", "b a", "does not fit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := told(chainOf(c.chain), wantedOf(c.wanted)); got != c.steps {
				t.Errorf("%s, wanted %q: %s, not %s", c.chain, c.wanted, got, c.steps)
			}
		})
	}
}

// told tells all steps, and last that what is not wanted goes.
func told(chain []place, wanted resource.Chain) string {
	spares := resource.Spares{Around: 2}
	for i := range chain {
		if chain[i].holds != "" && !slices.ContainsFunc(wanted, func(w resource.Wanted) bool { return w.Filter == chain[i].holds }) {
			chain[i].holds = outsider
		}
	}
	if !reachable(chain, wanted, spares) {
		return "does not fit"
	}
	var steps []string
	for {
		a := next(chain, wanted, spares, func(string) bool { return true })
		for _, ch := range a.changes {
			chain[ch.place].holds, chain[ch.place].filled = ch.filter, true
		}
		if len(a.changes) == 0 {
			for _, p := range a.leaving {
				chain[p].holds = ""
			}
			if len(a.leaving) == 0 {
				return strings.Join(steps, " → ")
			}
		}
		steps = append(steps, textOf(chain))
	}
}

// TestAnyPart: whatever part of a step is seen, filters that stay are there, in
// the order of before or after, and steps come to an end.
func TestAnyPart(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	fitted := 0
	for range 20_000 {
		chain, before := randomChain(rng)
		wanted := randomWanted(rng, before)
		start := textOf(chain)
		for i := range chain {
			if chain[i].holds != "" && !slices.ContainsFunc(wanted, func(w resource.Wanted) bool { return w.Filter == chain[i].holds }) {
				chain[i].holds = outsider
			}
		}
		if !reachable(chain, wanted, resource.Spares{}) {
			continue
		}
		fitted++
		if err := walk(chain, before, wanted); err != nil {
			t.Fatalf("%s, wanted %v: %v", start, wanted, err)
		}
	}
	if fitted < 5_000 {
		t.Errorf("only %d of 20,000 chains had room", fitted)
	}
}

func randomChain(rng *rand.Rand) ([]place, resource.Chain) {
	var chain []place
	var wanted resource.Chain
	names := []string{"a", "b", "c", "d", "e"}
	rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for gap := range 1 + rng.IntN(2) {
		for range rng.IntN(6) {
			p := place{gap: gap, filled: true}
			if len(names) > 0 && rng.IntN(2) == 0 {
				p.holds, names = names[0], names[1:]
				wanted = append(wanted, resource.Wanted{Filter: p.holds, Gap: gap})
			}
			chain = append(chain, p)
		}
	}
	return chain, wanted
}

// randomWanted are those of before, some of them elsewhere, some gone, some new.
func randomWanted(rng *rand.Rand, before resource.Chain) resource.Chain {
	wanted := slices.DeleteFunc(slices.Clone(before), func(resource.Wanted) bool { return rng.IntN(5) == 0 })
	for _, name := range []string{"f", "g"} {
		if rng.IntN(2) == 0 {
			wanted = append(wanted, resource.Wanted{Filter: name, Gap: rng.IntN(2)})
		}
	}
	if rng.IntN(2) == 0 {
		rng.Shuffle(len(wanted), func(i, j int) { wanted[i], wanted[j] = wanted[j], wanted[i] })
	}
	slices.SortStableFunc(wanted, func(a, b resource.Wanted) int { return a.Gap - b.Gap })
	return wanted
}

func walk(chain []place, before, wanted resource.Chain) error {
	stay := map[string]bool{}
	for _, w := range wanted {
		if slices.ContainsFunc(chain, func(p place) bool { return p.holds == w.Filter }) {
			stay[w.Filter] = true
		}
	}
	for range 100 {
		a := next(chain, wanted, resource.Spares{}, func(string) bool { return true })
		if !a.fits {
			return fmt.Errorf("at %s it does not fit any more", textOf(chain))
		}
		if len(a.changes) == 0 {
			if !slices.EqualFunc(filtersIn(chain), wanted, func(f string, w resource.Wanted) bool { return f == w.Filter }) {
				return fmt.Errorf("it ends at %s", textOf(chain))
			}
			return nil
		}
		for part := range 1 << len(a.changes) {
			seen := slices.Clone(chain)
			for i, ch := range a.changes {
				if part&(1<<i) != 0 {
					seen[ch.place].holds = ch.filter
				}
			}
			for f := range stay {
				if !slices.ContainsFunc(seen, func(p place) bool { return p.holds == f }) {
					return fmt.Errorf("%s has left at %s", f, textOf(seen))
				}
			}
			if !inOrder(seen, wanted) && !inOrder(seen, before) {
				return fmt.Errorf("%s is in neither order", textOf(seen))
			}
		}
		for _, ch := range a.changes {
			chain[ch.place].holds, chain[ch.place].filled = ch.filter, true
		}
	}
	return fmt.Errorf("it goes on for ever")
}

// filtersIn are the filters in a chain but for those that go.
func filtersIn(chain []place) []string {
	var names []string
	for _, p := range chain {
		if p.holds != "" && p.holds != outsider {
			names = append(names, p.holds)
		}
	}
	return names
}
