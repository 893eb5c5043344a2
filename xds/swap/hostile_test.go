package swap_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

// An Envoy may say what it likes about the slots that it has. What that costs is
// bounded by what it is to have, not by what it says.

// claims are first requests of an Envoy that says that it has been here before.
type claims struct {
	listeners, slots, routes map[string]string // what it has, by version
	asked                    []string          // more slots that it asks for
}

// takes steps a machine through the claims, and tells what that costs: bytes that
// it is sent, and time.
func (c claims) takes(m *swap.Machine, delta bool) (sent int, took time.Duration) {
	begin := time.Now()
	asks := map[swap.Type][]string{}
	var step func(r swap.Request)
	step = func(r swap.Request) {
		for _, s := range m.Step(time.Unix(0, 0), r).Sends {
			sent += len(s.Body())
			ack := swap.Request{Type: s.Type, Nonce: swap.FormatNonce(s.Nonce)}
			if !delta {
				ack.Names = asks[s.Type]
			}
			step(ack)
		}
	}
	for _, of := range []struct {
		t    swap.Type
		have map[string]string
		more []string
	}{{swap.Cluster, nil, nil}, {swap.Listener, c.listeners, nil}, {swap.Route, c.routes, nil}, {swap.Extension, c.slots, c.asked}} {
		r := swap.Request{Type: of.t}
		names := slices.AppendSeq(of.more, maps.Keys(of.have))
		if of.t == swap.Extension {
			names = append(names, "primer/a")
		}
		asks[of.t] = names
		if delta {
			r.Initial, r.Subscribe = of.have, names
		} else if r.Names = names; len(of.have) > 0 {
			var version []string
			for name, v := range of.have {
				version = append(version, name+"="+v)
			}
			slices.Sort(version)
			r.Version = strings.Join(version, " ")
		}
		step(r)
	}
	return sent, time.Since(begin)
}

// TestClaimsAreBounded: an Envoy that says that it has thousands of slots and
// routes of one listener gets no content for each of them, and holds nobody up.
func TestClaimsAreBounded(t *testing.T) {
	const config = 32 << 10
	w := newWorld()
	old := w.define(t, "filter a "+strings.Repeat("o", config)+" module=M\nlistener web a")
	version := old.Listeners[0].Version
	held := old.Filters[0].VersionIn(resource.SlotPrefix)
	snap := w.define(t, "filter a "+strings.Repeat("n", config)+" module=M\nlistener web a")
	base := snap.Listeners[0].Base
	slot := func(id string, n int) string { return fmt.Sprintf("%sweb/%s/%d", resource.SlotPrefix, id, n) }

	has := map[string]string{"primer/a": old.Filters[0].Version}
	wide := claims{listeners: map[string]string{"web": base + "+1024"}, slots: maps.Clone(has)}
	for n := range 1024 {
		wide.slots[slot(resource.IDOf(base+"+1024"), n)] = held
	}
	some := claims{listeners: map[string]string{"web": base + "+256"}, slots: maps.Clone(has)}
	for n := range 256 {
		some.slots[slot(resource.IDOf(base+"+256"), n)] = held
	}
	drained := claims{listeners: map[string]string{"web": version}, slots: maps.Clone(has)}
	routes := claims{listeners: drained.listeners, slots: maps.Clone(has), routes: map[string]string{}}
	both := claims{listeners: drained.listeners, slots: drained.slots, routes: routes.routes}
	taken := claims{slots: has}
	for n := range 16000 {
		id := fmt.Sprintf("%08x", n)
		drained.slots[slot(id, 0)] = held
		routes.routes[resource.RoutesPrefix+"web/"+id] = "old"
		next := base + "+1"
		if n > 0 {
			next += fmt.Sprintf("~%d", n)
		}
		taken.asked = append(taken.asked, slot(resource.IDOf(next), 0))
	}
	for name, c := range map[string]claims{"too wide": wide, "wide": some, "drained": drained, "routes": routes, "both": both, "names that are taken": taken} {
		for _, delta := range []bool{false, true} {
			m := swap.New(swap.Options{Interner: swap.NewInterner(), Snapshot: snap, Delta: delta})
			sent, took := c.takes(m, delta)
			// A content for each slot that it may have, and some more; 16,000
			// were half a gigabyte, and took minutes.
			if most := (256 + 16) * (config + 1<<10); sent > most || took > 20*time.Second {
				t.Errorf("%s, delta %t: it is sent %d bytes, more than %d, in %v", name, delta, sent, most, took)
			}
		}
	}
}
