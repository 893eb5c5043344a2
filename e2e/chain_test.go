package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// set is what a listener is to have from a write on.
type set struct {
	change   string   // how it came from the one before: "add" and the like
	chain    []string // its filters, in their order
	upstream string   // where its route leads
	written  time.Time
	told     time.Time // when the status first had all its filters running; zero: it had not
	runs     time.Time // when the status had said so, and of all else, for as long as status --wait wants it; zero: it had not
	// drained is when the status said so of connections that were open before
	// it ran, where it had said that they go on without it; zero: it had not.
	drained time.Time
}

// history are the sets that were written, in order. Each is judged by those
// that may have been in force meanwhile: from the newest of which the status
// said, before the request began, that it runs, to the newest that was written
// before the answer.
type history []set

// verdict is what is said of a request.
type verdict int

const (
	right      verdict = iota
	failed             // no answer, or not a good one
	unfiltered         // a filter is missing, whichever of the sets with its route is in force
	late               // through what is in none of them: a filter that was removed, a route that was changed
	misordered         // its filters are in no order that was written
)

func (v verdict) String() string {
	return [...]string{"right", "failed", "unfiltered", "as before", "in a wrong order"}[v]
}

// window gives the sets that may have been in force for a request.
func (h history) window(r harness.Exchange) history {
	from, to := 0, 0
	for i, s := range h {
		runs := s.runs
		if !s.drained.IsZero() && r.Opened.Before(s.runs) {
			runs = s.drained
		}
		if !runs.IsZero() && !runs.After(r.Began) {
			from = i
		}
		if !s.written.After(r.Answered) {
			to = i
		}
	}
	return h[from : to+1]
}

// judge looks at what a request met.
func (h history) judge(r harness.Exchange) verdict {
	if r.Err != nil {
		return failed
	}
	w := h.window(r)
	for i, a := range w {
		for _, b := range w[i:] {
			if between(a, b, r.Chain, r.Upstream) {
				return right
			}
		}
	}
	routes := slices.DeleteFunc(slices.Clone(w), func(s set) bool { return s.upstream != r.Upstream })
	if len(routes) == 0 {
		return late
	}
	if !slices.ContainsFunc(routes, func(s set) bool { return within(s.chain, r.Chain) }) {
		return unfiltered
	}
	for _, name := range r.Chain {
		if !slices.ContainsFunc(w, func(s set) bool { return slices.Contains(s.chain, name) }) {
			return late
		}
	}
	if len(w) == 1 && slices.ContainsFunc(h, func(s set) bool { return slices.Equal(s.chain, r.Chain) && s.written.Before(w[0].written) }) {
		return late // the order before
	}
	return misordered
}

// between tells whether a request may meet a chain on the way from one set to
// another: with all filters of both, and all of the set whose route it takes;
// in the order of one of them. Filters of both may be in an old place and a new
// one: those that move, and those that make room.
func between(a, b set, chain []string, upstream string) bool {
	needs := common(a.chain, b.chain)
	switch {
	case upstream != a.upstream && upstream != b.upstream:
		return false
	case a.upstream == b.upstream:
	case upstream == a.upstream:
		needs = a.chain
	default:
		needs = b.chain
	}
	if !within(needs, chain) {
		return false
	}
	both := common(a.chain, b.chain)
	moves := !inOrder(both, b.chain)
	if a.written.Equal(b.written) { // they are one
		both = nil
	}
	for _, c := range once(chain, both) {
		first, second := inOrder(common(c, a.chain), a.chain), inOrder(common(c, b.chain), b.chain)
		known := !slices.ContainsFunc(c, func(name string) bool { return !slices.Contains(a.chain, name) && !slices.Contains(b.chain, name) })
		if known && (first && second || moves && (first || second)) {
			return true
		}
	}
	return false
}

// within tells whether all items are in another list.
func within(items, in []string) bool {
	return !slices.ContainsFunc(items, func(s string) bool { return !slices.Contains(in, s) })
}

// common are the items of a that b has too.
func common(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// inOrder tells whether the items are found in this order in those of another list.
func inOrder(items, in []string) bool {
	for _, s := range in {
		if len(items) > 0 && items[0] == s {
			items = items[1:]
		}
	}
	return len(items) == 0
}

// once gives the chains that are left when each filter that stands twice is
// taken out at one of its places: none where one does that may not.
func once(chain, twice []string) [][]string {
	for i, name := range chain {
		j := slices.Index(chain[i+1:], name)
		if j < 0 {
			continue
		}
		j += i + 1
		if !slices.Contains(twice, name) || slices.Contains(chain[j+1:], name) {
			return nil
		}
		return append(once(slices.Delete(slices.Clone(chain), i, i+1), twice), once(slices.Delete(slices.Clone(chain), j, j+1), twice)...)
	}
	return [][]string{chain}
}

// TestJudge: what a request met, by what was wanted meanwhile.
func TestJudge(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time {
		if ms < 0 {
			return time.Time{}
		}
		return start.Add(time.Duration(ms) * time.Millisecond)
	}
	words := strings.Fields
	write := func(chain, upstream string, written, runs int) set {
		return set{chain: words(chain), upstream: upstream, written: at(written), runs: at(runs)}
	}
	drained := func(s set, ms int) set {
		s.drained = at(ms)
		return s
	}
	for _, test := range []struct {
		name            string
		then            set // after a b c to 1, which runs from the beginning; written at 10
		began, answered int
		chain           string
		upstream        string
		want            verdict
	}{
		{"at rest", write("a b c", "1", 10, 20), 1, 2, "a b c", "1", right},
		{"without one", write("a b c", "1", 10, 20), 1, 2, "a c", "1", unfiltered},
		{"another order", write("a b c", "1", 10, 20), 1, 2, "b a c", "1", misordered},
		{"before it was written", write("a b c d", "1", 10, 20), 1, 2, "a b c d", "1", late},

		{"the old one, of an added filter", write("a x b c", "1", 10, 20), 11, 12, "a b c", "1", right},
		{"the new one", write("a x b c", "1", 10, 20), 11, 12, "a x b c", "1", right},
		{"the added one elsewhere", write("a x b c", "1", 10, 20), 11, 12, "x a b c", "1", misordered},
		{"the added one twice", write("a x b c", "1", 10, 20), 11, 12, "a x x b c", "1", misordered},
		{"others make room for the added one", write("a x b c", "1", 10, 20), 11, 12, "a b c b c", "1", right},
		{"others make room in a wrong order", write("a x b c", "1", 10, 20), 11, 12, "a c b c b", "1", right},
		{"others make room, and are missing", write("a x b c", "1", 10, 20), 11, 12, "a c c", "1", unfiltered},
		{"the added one alone", write("a x b c", "1", 10, 20), 11, 12, "x", "1", unfiltered},
		{"the old one, begun before it ran", write("a x b c", "1", 10, 20), 19, 25, "a b c", "1", right},
		{"the old one, begun after", write("a x b c", "1", 10, 20), 20, 25, "a b c", "1", unfiltered},
		{"the old one, begun after, not drained", drained(write("a x b c", "1", 10, 20), 30), 29, 35, "a b c", "1", right},
		{"the old one, begun after, drained", drained(write("a x b c", "1", 10, 20), 30), 30, 35, "a b c", "1", unfiltered},
		{"the old one, while it never ran", write("a x b c", "1", 10, -1), 200, 250, "a b c", "1", right},

		{"the old one, of a removed filter", write("a c", "1", 10, 20), 11, 12, "a b c", "1", right},
		{"without another", write("a c", "1", 10, 20), 11, 12, "a", "1", unfiltered},
		{"the removed one, later", write("a c", "1", 10, 20), 21, 22, "a b c", "1", late},

		{"moved, twice", write("b c a", "1", 10, 20), 11, 12, "a b c a", "1", right},
		{"moved, by moving the others", write("b c a", "1", 10, 20), 11, 12, "b c a c", "1", right},
		{"moved, gone", write("b c a", "1", 10, 20), 11, 12, "b c", "1", unfiltered},
		{"moved, three times", write("b c a", "1", 10, 20), 11, 12, "a b a c a", "1", misordered},
		{"moved, elsewhere", write("b c a", "1", 10, 20), 11, 12, "b a c", "1", misordered},
		{"moved, twice and later", write("b c a", "1", 10, 20), 21, 22, "a b c a", "1", misordered},
		{"moved, the order before", write("b c a", "1", 10, 20), 21, 22, "a b c", "1", late},
		{"all turned round", write("c b a", "1", 10, 20), 11, 12, "a b c b a", "1", right},
		{"half turned round", write("c b a", "1", 10, 20), 11, 12, "b c a", "1", misordered},

		{"one for another, both", write("x b c", "1", 10, 20), 11, 12, "x a b c", "1", right},
		{"one for another, neither", write("x b c", "1", 10, 20), 11, 12, "b c", "1", right},

		{"the old route", write("a b c", "2", 10, 20), 11, 12, "a b c", "1", right},
		{"the new route", write("a b c", "2", 10, 20), 11, 12, "a b c", "2", right},
		{"the old route, later", write("a b c", "2", 10, 20), 21, 22, "a b c", "1", late},
		{"no route of these", write("a b c", "2", 10, 20), 11, 12, "a b c", "3", late},
		{"the new route without its filter", write("x a b c", "2", 10, 20), 11, 12, "a b c", "2", unfiltered},
		{"the old route with the filter of the new", write("x a b c", "2", 10, 20), 11, 12, "x a b c", "1", right},
		{"the old route without its filter", write("b c", "2", 10, 20), 11, 12, "b c", "1", unfiltered},
		{"the new route with the filter of the old", write("b c", "2", 10, 20), 11, 12, "a b c", "2", right},
	} {
		h := history{write("a b c", "1", 0, 0), test.then}
		r := harness.Exchange{Began: at(test.began), Answered: at(test.answered), Status: 200, Chain: words(test.chain), Upstream: test.upstream}
		if got := h.judge(r); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
		if r.Opened = at(25); h.judge(r) == right && test.began > 25 && strings.HasPrefix(test.name, "the old one, begun after") {
			t.Errorf("%s: a connection that was opened later may go without it", test.name)
		}
		r.Err = fmt.Errorf("status 503")
		if got := h.judge(r); got != failed {
			t.Errorf("%s, and failed: %v", test.name, got)
		}
	}
}
