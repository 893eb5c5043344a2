package source

import (
	"slices"
	"strings"
	"testing"
)

// TestFilterOfRouteIsDeleted checks that a listener whose routes refer to a
// filter stays when the filter's file is deleted, and so do the variants of
// other filters on its routes.
func TestFilterOfRouteIsDeleted(t *testing.T) {
	s := newStill(t)
	routes := "kind: Listener\nname: web\naddress: 127.0.0.1:80\nroutes:\n" +
		"- {prefix: /a, upstream: \"a:1\", filters: {a: off, b: {config: other}}}\n- {prefix: /b, upstream: \"a:1\", filters: {a: {config: x}}}\n"
	s.write(map[string]string{"a.yaml": filter("a", ""), "b.yaml": filter("b", ""), "c.yaml": filter("c", ""), "web.yaml": routes})
	before := s.look()
	if len(before.Problems) > 0 || len(before.Set.Filters) != 5 {
		t.Fatalf("%q, problems %v", filterNames(before), before.Problems)
	}
	if again := s.look(); again.Set != before.Set {
		t.Error("the same files are another set")
	}
	s.write(map[string]string{"a.yaml": ""})
	after := s.look()
	if got := filterNames(after); !strings.HasPrefix(got, "b b@") || !strings.HasSuffix(got, " c") || strings.Contains(got, "a@") {
		t.Errorf("filters %q", got)
	}
	if len(after.Set.Listeners) != 1 || after.Set.Listeners[0] != before.Set.Listeners[0] {
		t.Errorf("listeners %v", after.Set.Listeners)
	}
	if len(after.Problems) != 2 || after.Problems[0].Line != 5 || after.Problems[1].Line != 6 {
		t.Errorf("problems %v", after.Problems)
	}
}

// TestVariantOfAdoptedListener checks that a variant that listeners of several
// files share is one filter, even if one of these files lacks what it refers
// to.
func TestVariantOfAdoptedListener(t *testing.T) {
	s := newStill(t)
	web := func(name, filters string) string {
		return "kind: Listener\nname: " + name + "\naddress: 127.0.0.1:" + name[len(name)-2:] + "\nroutes:\n- {prefix: /, upstream: \"a:1\", filters: {b: {config: x}" + filters + "}}\n"
	}
	s.write(map[string]string{"a.yaml": filter("a", ""), "b.yaml": filter("b", ""), "one.yaml": web("web-81", ""), "two.yaml": web("web-82", ", a: off")})
	if u := s.look(); len(u.Problems) > 0 || len(u.Set.Filters) != 3 {
		t.Fatalf("%q, problems %v", filterNames(u), u.Problems)
	}
	s.write(map[string]string{"a.yaml": ""})
	u := s.look()
	if len(u.Set.Filters) != 2 || len(u.Set.Listeners) != 2 {
		t.Fatalf("filters %q, listeners %v", filterNames(u), u.Set.Listeners)
	}
	if got := u.Set.Filters[1].Attach.Listeners; len(got) != 1 || !slices.Equal(got[0].Names, []string{"web-81", "web-82"}) {
		t.Errorf("the variant is in %v", got)
	}
	if again := s.look(); again.Set != u.Set {
		t.Error("the same files are another set")
	}
}
