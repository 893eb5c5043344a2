package intern

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"wasmxds/resource"
)

func items(of ...string) []Item {
	var out []Item
	for _, s := range of {
		name, version, _ := strings.Cut(s, "@")
		out = append(out, Item{Name: name, Version: version})
	}
	return out
}

// TestOneOfEach: what is equal is the same pointer, for as long as it is used.
func TestOneOfEach(t *testing.T) {
	in := New[struct{}]()
	a, b := in.Acked(Listener, items("a@1", "b@2")), in.Acked(Listener, items("a@1", "b@2"))
	if a != b {
		t.Error("two of the same items")
	}
	if c := in.Acked(Cluster, items("a@1", "b@2")); c == a {
		t.Error("the same of two types")
	}
	if c := in.Acked(Listener, items("a@1", "b@3")); c == a {
		t.Error("the same of different items")
	}
	changed := []Item{{Name: "b", Version: "3", Res: &resource.Resource{Name: "b", Version: "3"}}}
	one, two := in.Step(a, Listener, true, changed, nil), in.Step(b, Listener, true, changed, nil)
	if one != two {
		t.Error("two responses of the same step")
	}
	if got, _ := one.To.Find("b"); got.Version != "3" {
		t.Errorf("the step leads to %+v", one.To.Items)
	}
	n, _ := in.Ask(nil, false, []string{"x", "y"}, nil)
	if m, _ := in.Ask(nil, false, []string{"x", "y"}, nil); n != m {
		t.Error("two of the same names")
	}
}

func TestAsk(t *testing.T) {
	in := New[struct{}]()
	n, _ := in.Ask(nil, true, []string{"b", "a", "b"}, nil)
	n, _ = in.Ask(n, true, []string{"c"}, []string{"a"})
	if want := []string{"b", "c"}; !slices.Equal(n.Sorted, want) {
		t.Errorf("in delta it asks for %q, want %q", n.Sorted, want)
	}
	n, _ = in.Ask(n, false, []string{"z", "d"}, nil)
	if want := []string{"d", "z"}; !slices.Equal(n.Sorted, want) || !slices.Equal(n.Raw, []string{"z", "d"}) {
		t.Errorf("in state of the world it asks for %q, %q", n.Sorted, n.Raw)
	}
}

// TestAhead: an Envoy that asks for one name after the other is expected to go on as
// the one before it did, and no further than by one name.
func TestAhead(t *testing.T) {
	in := New[struct{}]()
	one, _ := in.Ask(nil, false, []string{"b"}, nil)
	for _, c := range []struct{ next, want []string }{
		{nil, []string{"b"}},
		{[]string{"b", "a"}, []string{"b", "a"}},
		{[]string{"b", "a", "c"}, []string{"b"}},
		{[]string{"a", "b"}, []string{"b"}},
		{[]string{"b"}, []string{"b"}},
	} {
		if c.next != nil {
			in.Ask(one, false, c.next, nil)
		}
		if got := one.Ahead(); !slices.Equal(got, c.want) {
			t.Errorf("after %q it is expected to ask for %q, want %q", c.next, got, c.want)
		}
	}
}

// TestMore: only a request for all names from before, and others, is for more, whether it
// is the first such request or not.
func TestMore(t *testing.T) {
	in := New[struct{}]()
	set := func(names ...string) *NameSet {
		s, _ := in.Ask(nil, false, names, nil)
		return s
	}
	for _, c := range []struct {
		before *NameSet
		more   bool
	}{
		{nil, true}, {set(), true}, {set("a"), true}, {set("d"), true}, {set("a", "d"), true}, {set("a", "b", "d"), true},
		{set("c"), false}, {set("a", "c"), false}, {set("a", "b", "d", "e"), false},
	} {
		for range 2 {
			if _, more := in.Ask(c.before, false, []string{"d", "a", "b"}, nil); more != c.more {
				t.Errorf("after %q it is for more: %v", c.before.All(), more)
			}
		}
	}
}

// TestRecall: eight versions of a filter are remembered, and no delta Envoy's
// listeners, as no response to it carries what did not change.
func TestRecall(t *testing.T) {
	in := New[struct{}]()
	for v := range 10 {
		in.Remember(Extension, true, []Item{{Name: "f", Version: fmt.Sprint(v), Res: &resource.Resource{}}})
	}
	in.Remember(Listener, true, []Item{{Name: "delta", Version: "1", Res: &resource.Resource{}}})
	in.Remember(Listener, false, []Item{{Name: "sotw", Version: "1", Res: &resource.Resource{}}})
	for _, w := range []struct {
		typ           Type
		name, version string
		there         bool
	}{
		{Extension, "f", "1", false}, {Extension, "f", "2", true}, {Extension, "f", "9", true},
		{Listener, "delta", "1", false}, {Listener, "sotw", "1", true},
	} {
		if _, ok := in.Recall(w.typ, w.name, w.version); ok != w.there {
			t.Errorf("%s %s %s: remembered %t", w.typ, w.name, w.version, ok)
		}
	}
}

// FuzzVersion: what a version tells is what was put into it.
func FuzzVersion(f *testing.F) {
	f.Add("web", "api", "0123456789abcdef")
	f.Add("a b%@c", "\xff\n", "1")
	f.Add("", "x", "")
	f.Fuzz(func(t *testing.T, a, b, version string) {
		if a >= b || strings.ContainsAny(version, separators) {
			return
		}
		want := []Item{{Name: a, Version: version}, {Name: b, Version: version}}
		in := New[struct{}]()
		text := in.Acked(Listener, want).Version()
		if strings.HasPrefix(text, "sha256:") {
			if got := ParseItems(text); got != nil {
				t.Errorf("a hash tells of %+v", got)
			}
			return
		}
		if got := ParseItems(text); !SameItems(got, want) {
			t.Errorf("%q tells of %+v, want %+v", text, got, want)
		}
	})
}
