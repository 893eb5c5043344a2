package resource

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition"
	"wasmxds/module"
)

// spared compiles a set with spares, and returns a listener.
func spared(t *testing.T, set *module.Set, spares Spares, name string) *Listener {
	t.Helper()
	o := opts
	o.Spares = spares
	c, problems := Compile(nil, Sets{Base: set}, o)
	for _, p := range problems.Base {
		t.Fatal(p)
	}
	for _, l := range c.Snapshot(definition.Node{}, "").Listeners {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("there is no listener %s", name)
	return nil
}

// having returns a set with a native listener and filters in it.
func having(listener string, filters ...string) *module.Set {
	set := &module.Set{Listeners: []*definition.Listener{web(listener, "127.0.0.1:8080")}}
	for _, name := range filters {
		set.Filters = append(set.Filters, wasm(name, shaA, "x"))
	}
	return set
}

// rawListener returns the listener in testdata/spares.yaml, which has lists of
// four, one and two gaps.
func rawListener(t *testing.T, spares Spares) *Listener {
	t.Helper()
	set, _ := read(t, "testdata/spares.yaml")
	o := opts
	o.Spares = spares
	c, _ := Compile(nil, Sets{Base: set}, o)
	for _, l := range c.Snapshot(definition.Node{}, "").Listeners {
		if l.Name == "raw" {
			return l
		}
	}
	t.Fatal("there is no listener raw")
	return nil
}

// TestIn checks that only a layout's own version identifies it.
func TestIn(t *testing.T) {
	native, raw := spared(t, having("web", "a", "b"), Spares{Around: 2}, "web"), rawListener(t, Spares{Around: 2})
	for text, slots := range map[string]int{
		"":        0,
		"+1":      1,
		"+6":      6,
		"+6~1":    6,
		"+0~1":    0,
		"+256":    256,
		"+1~256":  1,
		"+256~17": 256,
		"+6n2":    6,
		"+0n1~3":  0,
		"+0n250":  0,
	} {
		in := native.In(native.Base + text)
		if in == nil || in.Version != native.Base+text || len(in.Chains) != 2 || len(in.Chains[0]) != slots || len(in.Slots) != slots+len(in.Chains[1]) ||
			strings.Contains(text, "n") != (len(in.Chains[1]) > 0) {
			t.Errorf("%q: got %+v, want %d slots", text, in, slots)
		}
	}
	for text, chains := range map[string][]int{
		"":                 {0, 0, 0, 0},
		"+1-2-3-4,5,6-7":   {10, 5, 13, 0},
		"+0-0-0-1,0,0-0":   {1, 0, 0, 0},
		"+0-0-0-0,0,0-0~1": {0, 0, 0, 0},
		"+0-0-0-0,0,0-0n3": {0, 0, 0, 3},
	} {
		in := raw.In(raw.Base + text)
		if in == nil || in.Version != raw.Base+text {
			t.Errorf("%q: got %+v", text, in)
			continue
		}
		var got []int
		total := 1 // the one with a name given by users
		for _, chain := range in.Chains {
			got = append(got, len(chain))
			total += len(chain)
		}
		if !slices.Equal(got, chains) || len(in.Slots) != total {
			t.Errorf("%q: chains of %v slots, %d in all, want %v", text, got, len(in.Slots), chains)
		}
	}
	hostile := []string{
		"+", "+0", "+-1", "+01", "+ 1", "+1 ", "++1", "+1+1", "+1,", "+1-", "+,1", "+1-1", "+1,1", "+1.0", "+1e2", "+0x10", "+１",
		"+257", "+1025", "+4294967297", "+18446744073709551617", "+99999999999999999999", "+NaN",
		"+1~", "+1~0", "+1~-1", "+1~01", "+1~1~1", "+1~257", "+1~99999999999999999999", "~1", "+~1", "-1", ",",
		"+1n", "+1n0", "+1n1-1", "+1n1,1", "+1nn1", "+1n01", "+n1", "+1N1", "+1n257",
		"+" + strings.Repeat("1,", 4000), "+" + strings.Repeat("-", 4000), "+" + strings.Repeat("9", 4000),
	}
	for _, text := range append(hostile, "+1-2-3-4,5,6-7") {
		if in := native.In(native.Base + text); in != nil {
			t.Errorf("%.40q is taken for %s", text, in.Version)
		}
	}
	for _, text := range append(hostile, "+1", "+6", "+1-2-3-4,5", "+1-2-3-4,5,6-7,8", "+1-2-3,5,6-7", "+1-2-3-4-5,5,6-7", "+1-2-3-400,5,6-7", "+0-0-0-0,0,0-0") {
		if in := raw.In(raw.Base + text); in != nil {
			t.Errorf("%.40q is taken for %s", text, in.Version)
		}
	}
	for _, other := range []string{"", "+6", native.Base[:15] + "+6", strings.ToUpper(native.Base) + "x+6", raw.Base + "+6"} {
		if in := native.In(other); in != nil {
			t.Errorf("%q is taken for %s", other, in.Version)
		}
	}
	earlier := &Listener{Resource: native.Resource, Slots: native.Slots, Base: native.Base}
	if earlier.In(native.Version) != nil || earlier.Fresh(func(string) bool { return false }) != nil || earlier.RouteConfig("routes/web/x", nil) != nil {
		t.Error("a layout of a listener is made up that is known by its bytes alone")
	}
}

// TestMaxSlots checks that a listener with many filters may have more slots.
func TestMaxSlots(t *testing.T) {
	var filters []string
	for i := range 100 {
		filters = append(filters, fmt.Sprintf("f%03d", i))
	}
	for _, test := range []struct {
		filters []string
		spares  Spares
		want    int
	}{
		{nil, Spares{}, 256},
		{filters[:60], Spares{Around: 2}, 256},
		{filters, Spares{Around: 2}, 416},
		{filters, Spares{Around: 64, Between: 64}, 400}, // too many: none are spare
		{filters, Spares{Around: 64, Between: 2}, 1024},
	} {
		l := spared(t, having("web", test.filters...), test.spares, "web")
		if got := l.MaxSlots(); got != test.want || l.In(l.Version) == nil {
			t.Errorf("%d filters, spares %s: %d of a layout of %d, want %d", len(test.filters), test.spares, got, len(l.Slots), test.want)
		}
		if l.In(fmt.Sprintf("%s+%d", l.Base, l.MaxSlots())) == nil || l.In(fmt.Sprintf("%s+%d", l.Base, l.MaxSlots()+1)) != nil {
			t.Errorf("%d filters: an Envoy may have other than %d slots", len(test.filters), l.MaxSlots())
		}
	}
}

// TestFresh checks that a new layout has unused names.
func TestFresh(t *testing.T) {
	l := spared(t, having("web", "a"), Spares{Around: 1}, "web")
	used := map[string]bool{}
	for round := range 5 {
		fresh := l.Fresh(func(name string) bool { return used[name] })
		if want := fmt.Sprintf("~%d", round); round > 0 && !strings.HasSuffix(fresh.Version, want) || l.In(fresh.Version) != fresh {
			t.Errorf("round %d: got %s", round, fresh.Version)
		}
		if len(fresh.Slots) != 3 || !strings.HasPrefix(fresh.Routes, RoutesPrefix+"web/") {
			t.Errorf("round %d: got slots %v, routes %s", round, fresh.Slots, fresh.Routes)
		}
		for _, name := range append(slices.Clone(fresh.Slots), fresh.Routes) {
			if used[name] {
				t.Errorf("round %d: %s is used", round, name)
			}
		}
		// One used name suffices: of a slot, or of the routes.
		if used[fresh.Routes] = true; round%2 == 0 {
			delete(used, fresh.Routes)
			used[fresh.Slots[round%len(fresh.Slots)]] = true
		}
	}
	if fresh := l.Fresh(func(string) bool { return true }); fresh == nil {
		t.Error("none, where all names are used")
	}
}

// TestLayoutResource checks that what is sent has the layout, and is otherwise
// the listener.
func TestLayoutResource(t *testing.T) {
	l := rawListener(t, Spares{})
	in := l.In(l.Base + "+1-0-2-0,1,0-1")
	r := in.Resource()
	if r.Version != in.Version || r.Name != "raw" || in.Resource() != r {
		t.Fatalf("got %s %s", r.Name, r.Version)
	}
	var lists []string
	m := new(listenerv3.Listener)
	if err := proto.Unmarshal(r.Value, m); err != nil {
		t.Fatal(err)
	}
	for at := range connectionManagers(m) {
		hcm, err := unpack(at)
		if err != nil {
			t.Fatal(err)
		}
		for _, chain := range filterChains(hcm) {
			var names []string
			for _, f := range *chain {
				name, number := f.GetName(), f.GetName()[strings.LastIndexByte(f.GetName(), '/')+1:]
				if of, id, own := SlotOf(name); own {
					if of != "raw" || id != in.ID || id != IDOf(in.Version) {
						t.Errorf("slot %s is not of %s", name, in.ID)
					}
					name = "#" + number
				}
				names = append(names, name)
			}
			lists = append(lists, strings.Join(names, " "))
		}
	}
	want := []string{
		"#0 named jwt #1 #2 envoy.filters.http.rbac envoy.filters.http.router",
		"#3 envoy.filters.http.router",
		"#0 named jwt #1 #2 envoy.filters.http.rbac envoy.filters.http.router",
		"envoy.filters.http.rbac #4 envoy.filters.http.router",
	}
	if !slices.Equal(lists, want) {
		t.Errorf("lists are\n%s\nwant\n%s", strings.Join(lists, "\n"), strings.Join(want, "\n"))
	}
}

func TestNamesOfSlotsAndRoutes(t *testing.T) {
	for name, want := range map[string][2]string{
		"slot/web/0123abcd/0":    {"web", "0123abcd"},
		"slot/web/0123abcd/1023": {"web", "0123abcd"},
		"slot/a/b/c/0123abcd/4":  {"a/b/c", "0123abcd"},
		"slot//0123abcd/4":       {"", "0123abcd"},
		"slot///":                {"", ""},
		"slot/web/0":             {},
		"slot/web":               {},
		"slot/":                  {},
		"slot":                   {},
		"":                       {},
		"primer/slot/web/id/0":   {},
		"routes/web/id/0":        {},
		"hello":                  {},
	} {
		listener, id, ok := SlotOf(name)
		if wantOK := strings.HasPrefix(name, "slot/") && strings.Count(name, "/") >= 3; ok != wantOK || listener != want[0] || id != want[1] {
			t.Errorf("slot %q is of %q %q (%t), want %q", name, listener, id, ok, want)
		}
	}
	for name, want := range map[string][2]string{
		"routes/web/0123abcd": {"web", "0123abcd"},
		"routes/a/b/0123abcd": {"a/b", "0123abcd"},
		"routes/web":          {},
		"routes":              {},
		"":                    {},
		"slot/web/id/0":       {},
		"primer/gate":         {},
	} {
		listener, id, ok := RoutesOf(name)
		if wantOK := strings.HasPrefix(name, "routes/") && strings.Count(name, "/") >= 2; ok != wantOK || listener != want[0] || id != want[1] {
			t.Errorf("routes %q are of %q %q (%t), want %q", name, listener, id, ok, want)
		}
	}
	for _, version := range []string{"0123456789abcdef", "0123456789abcdef+1", "0123456789abcdef+2"} {
		if id := IDOf(version); len(id) != 8 || strings.ContainsAny(id, "/%@ ") {
			t.Errorf("the id of %s is %q", version, id)
		}
	}
	if IDOf("0123456789abcdef+1") == IDOf("0123456789abcdef+2") {
		t.Error("two layouts have one id")
	}
}

// TestRouteConfig checks that a listener's routes are the same under each name.
func TestRouteConfig(t *testing.T) {
	l := spared(t, having("web", "a"), Spares{}, "web")
	a, b := l.RouteConfig("routes/web/a", nil), l.RouteConfig("routes/web/b", nil)
	if a.Name != "routes/web/a" || b.Name != "routes/web/b" || a.Version != b.Version || l.RouteConfig("routes/web/a", nil) != a {
		t.Errorf("got %+v and %+v", a, b)
	}
	if rawListener(t, Spares{}).RouteConfig("routes/raw/a", nil) != nil {
		t.Error("a raw listener has routes of its own")
	}
}

// FuzzLayout checks that what an Envoy reports about a listener is bounded, and
// is either the layout with that version, or none.
func FuzzLayout(f *testing.F) {
	for _, text := range []string{"", "+1", "+1-2-3-4,5,6-7", "+1-2-3-4,5,6-7~8", "+0~1", "+1-2-3-4,5,6-7n8-9,1-2-3~8", "+0-0-0-0,0,0-0n0-1,0-0-0", "+n1", "+9999", "+-1", "+1~0", ",", "-", "~"} {
		f.Add(text)
	}
	lists := []list{make(list, 3), make(list, 0), make(list, 1)}
	var parsed []list // each with the same number of gaps: all filters are before the router
	for _, l := range lists {
		parsed = append(parsed, append(l, connectionManager("x").HttpFilters...))
	}
	of := &listener{lists: parsed, networks: []list{make(list, 2), make(list, 3)}}
	for i, l := range of.networks {
		of.networks[i] = networkList(make([]*listenerv3.Filter, len(l)))
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, ok := parseCounts(text, of)
		if !ok {
			return
		}
		if c.String() != text {
			t.Errorf("%q is read as %q", text, c)
		}
		if n := c.slots(); n < 0 || n > maxSlots || c.again < 0 || c.again > maxAgain || n+c.again == 0 {
			t.Errorf("%q: %d slots, generation %d", text, n, c.again)
		}
		for i, gaps := range c.lists {
			if len(gaps) != of.all()[i].gaps() || slices.Min(gaps) < 0 {
				t.Errorf("%q: list %d has gaps %v", text, i, gaps)
			}
		}
	})
}

// TestEmptiesAgain: what does nothing in a slot, of either kind, has other bytes for each
// attempt, and the same version.
func TestEmptiesAgain(t *testing.T) {
	for _, slot := range []string{SlotPrefix + "web/a1b2c3d4/0", SlotPrefix + "db/a1b2c3d4/n1"} {
		var empties Empties
		all := []*Resource{empties.In(slot)}
		for attempt := range 3 {
			all = append(all, empties.Again(all[0], attempt))
		}
		for i, r := range all {
			if r.Name != slot || r.Version != EmptyVersion {
				t.Errorf("%s is %s in version %s", slot, r.Name, r.Version)
			}
			if slices.ContainsFunc(all[:i], func(o *Resource) bool { return bytes.Equal(o.Value, r.Value) }) {
				t.Errorf("%s has the same bytes in two attempts", slot)
			}
		}
		if empties.Again(all[0], 1) != all[2] {
			t.Errorf("%s is made again for each caller", slot)
		}
	}
}
