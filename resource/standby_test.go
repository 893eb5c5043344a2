package resource

import (
	goruntime "runtime"
	"slices"
	"testing"

	"wasmxds/definition"
	"wasmxds/module"
)

// standing compiles a base, and a choice with standbys.
func standing(t *testing.T, prev *Catalog, base, with *module.Set) *Catalog {
	t.Helper()
	return compileSets(t, prev, Sets{Base: base, Choices: map[Choice]*module.Set{"a": with}, Standby: map[Choice]bool{"a": true}})
}

// TestStandby checks that what a change replaces or removes stands by on the
// nodes that have the change, and on no others, and that everything else is the
// same.
func TestStandby(t *testing.T) {
	base, nodes := fleet()
	gone := &module.Set{Filters: slices.Delete(slices.Clone(base.Filters), 7, 8), Listeners: base.Listeners}
	for name, with := range map[string]*module.Set{"replaced": root(base, 7, "other"), "taken away": gone} {
		t.Run(name, func(t *testing.T) {
			c := standing(t, nil, base, with)
			old, s := c.Snapshot(nodes[7], ""), c.Snapshot(nodes[7], "a")
			if len(old.Standbys) != 0 || len(s.Standbys) != 1 {
				t.Fatalf("%d stand by with the change, %d without", len(s.Standbys), len(old.Standbys))
			}
			f, by := old.Filters[0], s.Standbys[0]
			if by.Name != "standby:"+f.Name || by.TwinName != "primer/standby:"+f.Name || by.Version != f.Version || by != f.Standby() {
				t.Errorf("%+v stands by for %+v", by, f)
			}
			if s.Filter(by.Name) != by || s.FilterByID(f.ID) == by {
				t.Error("a standby is found by its name alone")
			}
			if by.Twin(0).Name != by.TwinName || by.Twin(3).Version != f.Version+".3" || by.TwinNoop() == nil {
				t.Errorf("its twin is %+v", by.Twin(0))
			}
			if !slices.Contains(s.Primer.Slots, by.TwinName) || s.Gate == nil || s.ModuleServer == "" {
				t.Errorf("the primer has %q", s.Primer.Slots)
			}
			if got, other := c.Snapshot(nodes[8], "a"), c.Snapshot(nodes[8], ""); got != other {
				t.Error("a node that the change doesn't touch has another snapshot")
			}
			if s.Listeners[0].Name != old.Listeners[0].Name || len(s.Listeners) != len(old.Listeners) {
				t.Error("other listeners")
			}
			joined := compileSets(t, c, Sets{Base: with})
			if got := joined.Snapshot(nodes[7], ""); got != s.without || len(got.Standbys) != 0 {
				t.Error("it joins: what stood by still does, or all is made again")
			}
			undone := compileSets(t, c, Sets{Base: base})
			if undone.Snapshot(nodes[7], "a") != old {
				t.Error("it is undone: the node has not what it had")
			}
			goruntime.KeepAlive(old)
			goruntime.KeepAlive(s)
		})
	}
}

// TestStandbyIsOfUse checks that there is no standby for filters that the group
// did not use, or without a module, or if only a listener changes.
func TestStandbyIsOfUse(t *testing.T) {
	base, nodes := fleet()
	missing := &module.Set{Filters: slices.Clone(base.Filters), Listeners: base.Listeners}
	missing.Filters[7] = &module.Filter{Definition: base.Filters[7].Definition, Wanted: base.Filters[7].Wanted, State: module.Failed, Reason: "404"}
	port := &module.Set{Filters: base.Filters, Listeners: slices.Clone(base.Listeners)}
	l := *port.Listeners[7]
	l.Address = "127.0.0.1:1"
	port.Listeners[7] = &l
	elsewhere := changed(base, 7, func(d *definition.Filter) { d.Attach.Listeners = []definition.ListenerMatch{{Names: []string{"none"}}} })
	for name, sets := range map[string][2]*module.Set{
		"it has no module":           {missing, root(base, 7, "other")},
		"only a listener changes":    {base, port},
		"it is in none of listeners": {elsewhere, root(elsewhere, 7, "other")},
	} {
		t.Run(name, func(t *testing.T) {
			c := standing(t, nil, sets[0], sets[1])
			if s := c.Snapshot(nodes[7], "a"); len(s.Standbys) != 0 || s != c.group(c.view("a").match(nodes[7])) {
				t.Errorf("%d stand by", len(s.Standbys))
			}
		})
	}
}
