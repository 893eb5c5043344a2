package resource

import (
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	xdsv3 "github.com/cncf/xds/go/xds/type/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"wasmxds/definition"
)

// TestAlike checks that lists in which filters have the same places are one
// Chain, whatever else differs.
func TestAlike(t *testing.T) {
	typed := func(name, of string) *hcmv3.HttpFilter {
		return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: &anypb.Any{TypeUrl: of}}}
	}
	structOf := func(name, of string) *hcmv3.HttpFilter {
		value, err := anypb.New(&xdsv3.TypedStruct{TypeUrl: of})
		if err != nil {
			t.Fatal(err)
		}
		return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: value}}
	}
	withValue := func(f *hcmv3.HttpFilter, v string) *hcmv3.HttpFilter {
		value, err := anypb.New(wrapperspb.String(v))
		if err != nil {
			t.Fatal(err)
		}
		f.GetTypedConfig().Value = value.Value
		return f
	}
	router := connectionManager("x").HttpFilters[0]
	slot := func(name string, types ...string) *hcmv3.HttpFilter {
		return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{ConfigDiscovery: &corev3.ExtensionConfigSource{TypeUrls: types}}}
	}
	for name, test := range map[string]struct {
		a, b  list
		alike bool
	}{
		"the same":           {list{typed("a", "A"), router}, list{typed("a", "A"), router}, true},
		"other contents":     {list{withValue(typed("a", "A"), "1"), router}, list{withValue(typed("a", "A"), "2"), router}, true},
		"disabled":           {list{typed("a", "A"), router}, list{{Name: "a", Disabled: true, ConfigType: typed("a", "A").ConfigType}, router}, true},
		"another name":       {list{typed("a", "A"), router}, list{typed("b", "A"), router}, false},
		"another type":       {list{typed("a", "A"), router}, list{typed("a", "B"), router}, false},
		"another struct":     {list{structOf("a", "A"), router}, list{structOf("a", "B"), router}, false},
		"one more":           {list{typed("a", "A"), router}, list{typed("a", "A"), typed("a", "A"), router}, false},
		"another order":      {list{typed("a", "A"), typed("b", "B"), router}, list{typed("b", "B"), typed("a", "A"), router}, false},
		"a slot":             {list{slot("a", wasmType), router}, list{typed("a", wasmType), router}, false},
		"a slot for another": {list{slot("a", wasmType), router}, list{slot("a", "B"), router}, false},
		"a router by name":   {list{{Name: routerName}}, list{{Name: routerName, ConfigType: &hcmv3.HttpFilter_ConfigDiscovery{}}}, false},
		"names that run on":  {list{typed("a", ""), typed("b", ""), router}, list{typed(`a""""""false"b`, ""), router}, false},
	} {
		l := new(listener)
		l.lists, l.listOf = addTo(l.lists, l.listOf, test.a)
		l.lists, l.listOf = addTo(l.lists, l.listOf, test.b)
		want := []int{0, 1}
		if test.alike {
			want[1] = 0
		}
		if !slices.Equal(l.listOf, want) || len(l.lists) != 1+want[1] {
			t.Errorf("%s: lists are %v, want %v", name, l.listOf, want)
		}
	}
}

// TestChains checks which filters a list gets, in which order, and in which
// gaps.
func TestChains(t *testing.T) {
	l := rawListener(t, Spares{})
	want := []string{
		"first@0 first-too@0 before-named@0 authz@2 after-rbac@3 open-not-there@3 last@3",
		"after-rbac@0 authz@0 first@0 before-named@0 named@0 open-not-there@0 first-too@0 last@0",
		"authz@0 first@0 first-too@0 after-rbac@1 before-named@1 named@1 open-not-there@1 last@1",
	}
	for i, chain := range l.Chains[:len(want)] {
		var got []string
		for _, w := range chain {
			got = append(got, w.Filter+"@"+string(rune('0'+w.Gap)))
		}
		if strings.Join(got, " ") != want[i] {
			t.Errorf("list %d holds %s, want %s", i, strings.Join(got, " "), want[i])
		}
	}
}

// TestSpread checks that each filter has a slot in its gap, in order, with
// spares where they should be.
func TestSpread(t *testing.T) {
	for _, test := range []struct {
		wanted Chain
		gaps   []int
		spares Spares
		want   []int
	}{
		{nil, nil, Spares{}, nil},
		{nil, []int{0, 0}, Spares{Around: 1}, nil},
		{Chain{{Filter: "a", Gap: 0}}, []int{0}, Spares{}, []int{0}},
		{Chain{{Filter: "a", Gap: 0}}, []int{0, 0, 0, 0, 0}, Spares{Around: 2}, []int{2}},
		{Chain{{Filter: "a", Gap: 0}, {Filter: "b", Gap: 0}}, []int{0, 0, 0, 0, 0}, Spares{Around: 1, Between: 1}, []int{1, 3}},
		{Chain{{Filter: "a", Gap: 0}, {Filter: "b", Gap: 0}}, []int{0, 0, 0}, Spares{Around: 1, Between: 1}, []int{1, 2}},
		{Chain{{Filter: "a", Gap: 0}, {Filter: "b", Gap: 2}}, []int{0, 0, 1, 2, 2}, Spares{Around: 1}, []int{1, 3}},
		{Chain{{Filter: "a", Gap: 1}, {Filter: "b", Gap: 1}}, []int{0, 1, 1, 1, 2}, Spares{Around: 1, Between: 1}, []int{1, 3}},
	} {
		if got := test.wanted.Spread(test.gaps, test.spares); !slices.Equal(got, test.want) {
			t.Errorf("%v in %v, spares %s: %v, want %v", test.wanted, test.gaps, test.spares, got, test.want)
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		// The layout that a listener with these filters gets.
		spares := Spares{r.IntN(4), r.IntN(3)}
		l := &listener{lists: []list{append(make(list, r.IntN(4)), connectionManager("x").HttpFilters...)}}
		var wanted Chain
		for gap := range l.lists[0].gaps() {
			for range r.IntN(4) {
				wanted = append(wanted, Wanted{Filter: string(rune('a' + len(wanted))), Gap: gap})
			}
		}
		var gaps []int
		for gap, n := range l.counts([]Chain{wanted}, spares, false).lists[0] {
			gaps = append(gaps, slices.Repeat([]int{gap}, n)...)
		}
		at := wanted.Spread(gaps, spares)
		for j, p := range at {
			if p < 0 || p >= len(gaps) || gaps[p] != wanted[j].Gap || j > 0 && p <= at[j-1] {
				t.Fatalf("%v in %v, spares %s: %v", wanted, gaps, spares, at)
			}
			if j > 0 && p-at[j-1]-1 < spares.Between {
				t.Fatalf("%v in %v, spares %s: %v: too few between %d and %d", wanted, gaps, spares, at, j-1, j)
			}
		}
		if free := len(gaps) - len(wanted); free != 2*spares.Around+max(0, len(wanted)-1)*spares.Between {
			t.Fatalf("%v, spares %s: %d slots are free", wanted, spares, free)
		}
		if len(at) > 0 && (at[0] < spares.Around || len(gaps)-1-at[len(at)-1] < spares.Around) {
			t.Fatalf("%v in %v, spares %s: %v: too few around", wanted, gaps, spares, at)
		}
	}
}

// TestLayoutsAreShared checks that all callers share one layout, which is freed
// with the last reference.
func TestLayoutsAreShared(t *testing.T) {
	l := spared(t, having("web", "a"), Spares{Around: 1}, "web")
	kept := l.In(l.Base + "+200")
	for round := range 2 {
		for n := range 256 {
			for again := range 8 {
				version := l.Base + "+" + counts{lists: [][]int{{n + 1}}, http: 1, again: again}.String()
				if in := l.In(version); in == nil || n%64 == 0 && in.Resource() == nil {
					t.Fatalf("round %d: no layout %s", round, version)
				}
			}
			if n%8 == 0 {
				goruntime.GC()
			}
		}
		if n := len(l.compiled.layouts.m); n > 512 {
			t.Errorf("round %d: %d layouts are kept, one is used", round, n)
		}
	}
	if l.In(l.Base+"+200") != kept {
		t.Error("one that is used is made again")
	}
	goruntime.KeepAlive(kept)
}

// TestContents checks the contents of the slots of a new Envoy, and which slots
// wait for filters.
func TestContents(t *testing.T) {
	set, _ := read(t, "testdata/spares.yaml")
	o := opts
	o.Spares = Spares{Around: 1}
	c, _ := Compile(nil, Sets{Base: set}, o)
	s := c.Snapshot(definition.Node{}, "")
	known := map[string]string{}
	for _, content := range s.Contents() {
		if _, twice := known[content.Name]; twice {
			t.Errorf("slot %s is told twice", content.Name)
		}
		known[content.Name] = content.Filter
		if of, _, own := SlotOf(content.Name); own != (content.Listener != "") || of != content.Listener {
			t.Errorf("slot %s is of listener %q", content.Name, content.Listener)
		}
		switch f := c.Filter(content.Filter); {
		case content.Filter == "" || f.Missing != "":
			if content.Version != EmptyVersion {
				t.Errorf("slot %s holds %s, want what does nothing", content.Name, content.Version)
			}
		case content.Version != f.VersionIn(content.Name):
			t.Errorf("slot %s holds %s, want %s", content.Name, content.Version, f.VersionIn(content.Name))
		}
	}
	for _, l := range s.Listeners {
		for _, slot := range l.Slots {
			if _, ok := known[slot]; !ok {
				t.Errorf("nothing is told of slot %s", slot)
			}
			delete(known, slot)
		}
	}
	if len(known) > 0 {
		t.Errorf("slots that nobody has: %v", known)
	}
}
