package resource

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"wasmxds/definition"
)

// TestIndexFindsWhatMatches compares the index with evaluating each selector.
func TestIndexFindsWhatMatches(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var selectors []*selector
		for id := range 1 + r.IntN(12) {
			selectors = append(selectors, &selector{name: fmt.Sprintf("%02d", id), Selector: randomSelector(r)})
		}
		x := newIndex(selectors)
		for _, n := range append(someNodes(), definition.Node{}) {
			var got, want []string
			x.match(n, func(s *selector) { got = append(got, s.name) })
			for _, s := range selectors {
				if s.Matches(n) {
					want = append(want, s.name)
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); !slices.Equal(got, want) {
				t.Fatalf("seed %d, node %+v: found %v, want %v", seed, n, got, want)
			}
		}
	}
}

func TestCanonical(t *testing.T) {
	same := [][2]definition.Selector{
		{{}, {IDs: []string{}, Labels: map[string]string{}}},
		{{IDs: []string{"a", "b"}}, {IDs: []string{"b", "a", "b"}}},
	}
	for _, pair := range same {
		if canonical(pair[0]) != canonical(pair[1]) {
			t.Errorf("%+v and %+v are taken for different", pair[0], pair[1])
		}
	}
	different := []definition.Selector{
		{},
		{IDs: []string{"a"}},
		{Clusters: []string{"a"}},
		{IDs: []string{`a" "b`}},
		{IDs: []string{"a", "b"}},
		{Labels: map[string]string{"a": "b"}},
		{Labels: map[string]string{"a": "b", "c": "d"}},
		{Labels: map[string]string{"a": `b""c""d`}},
	}
	seen := make(map[string]definition.Selector)
	for _, s := range different {
		if other, ok := seen[canonical(s)]; ok {
			t.Errorf("%+v and %+v are taken for the same", s, other)
		}
		seen[canonical(s)] = s
	}
}
