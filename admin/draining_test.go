package admin

import (
	"testing"
	"time"

	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

var replaced = time.Date(2026, 3, 1, 17, 45, 10, 0, time.UTC)

func TestDrainingInWords(t *testing.T) {
	clock := func(t time.Time) string { return t.UTC().Format(time.TimeOnly) }
	for _, c := range []struct {
		draining         swap.Draining
		filter, listener string
	}{
		{swap.Draining{Since: replaced, Until: replaced.Add(10 * time.Minute)},
			"connections opened before 17:45:10 go without it until they are drained (at most 10 min)",
			"connections opened before 17:45:10 go on with the listener as it was until they are drained (at most 10 min)"},
		{swap.Draining{Since: replaced},
			"connections opened before 17:45:10 go without it until they are drained (how long that takes is not known)",
			"connections opened before 17:45:10 go on with the listener as it was until they are drained (how long that takes is not known)"},
		{swap.Draining{Until: replaced},
			"older connections go without it until they are drained (at 17:45:10 at the latest)",
			"older connections go on with the listener as it was until they are drained (at 17:45:10 at the latest)"},
		{swap.Draining{},
			"older connections go without it until they are drained (since when, and for how long, is not known)",
			"older connections go on with the listener as it was until they are drained (since when, and for how long, is not known)"},
	} {
		if got := FilterDraining(&c.draining, clock); got != c.filter {
			t.Errorf("%+v: %s\nwant %s", c.draining, got, c.filter)
		}
		if got := ListenerDraining(&c.draining, clock); got != c.listener {
			t.Errorf("%+v: %s\nwant %s", c.draining, got, c.listener)
		}
	}
}

// TestSpan checks that a maximum duration is never rounded down.
func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                  "0 s",
		0:                             "0 s",
		1500 * time.Millisecond:       "2 s",
		time.Minute:                   "1 min",
		90 * time.Second:              "90 s",
		10 * time.Minute:              "10 min",
		10*time.Minute + 1:            "10 min",
		10*time.Minute + time.Second:  "11 min",
		2 * time.Hour:                 "2 h",
		23*time.Hour + 30*time.Minute: "24 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

func TestDrained(t *testing.T) {
	filters := []Filter{{Name: "old"}, {Name: "new", FilterCount: xds.FilterCount{Nodes: 2, Running: 2, Draining: 1}}}
	for _, c := range []struct {
		title string
		st    Status
		name  string
		want  bool
	}{
		{"nothing drains", Status{}, "", true},
		{"an Envoy drains", Status{Envoys: xds.NodeCount{Draining: 1}}, "", false},
		{"an Envoy drains, but has this filter everywhere", Status{Envoys: xds.NodeCount{Draining: 1}, Filters: filters}, "old", true},
		{"older connections do not have this filter", Status{Envoys: xds.NodeCount{Draining: 1}, Filters: filters}, "new", false},
	} {
		if got := c.st.Drained(c.name); got != c.want {
			t.Errorf("%s: %v", c.title, got)
		}
	}
}

// TestDrainingIsShown checks that connections that are being drained are on
// each page, in the status and in the metrics, until they are drained.
func TestDrainingIsShown(t *testing.T) {
	s := newScene(t, 2)
	h := s.Server.Handler()
	s.change(0, func(n *xds.NodeStatus, _ *resource.Snapshot) {
		d := &swap.Draining{Since: replaced, Until: replaced.Add(10 * time.Minute)}
		n.Filters[0].Draining, n.Listeners[0].Draining = d, d
	})
	name, listener := s.nodes[0].Filters[0].Name, s.nodes[0].Listeners[0].Name
	_, page := get(t, h, "/")
	wantIn(t, page, "Healthy · 2 Envoys", "Older connections of 1 Envoy are being drained", `<a href="/envoys/edge-01">`)
	_, page = get(t, h, "/filters/"+name)
	wantIn(t, page, "on 1 Envoy, older connections go without it until they are drained")
	_, page = get(t, h, "/envoys/edge-01")
	wantIn(t, page, "connections opened before 17:45:10 UTC go without it until they are drained (at most 10 min)",
		"<h3>"+listener+"</h3>",
		"connections opened before 17:45:10 UTC go on with the listener as it was until they are drained (at most 10 min)")
	_, text := get(t, h, "/api/v1/status")
	wantIn(t, text, `"draining": 1`, `"since": "2026-03-01T17:45:10Z"`, `"until": "2026-03-01T17:55:10Z"`)
	_, text = get(t, h, "/metrics")
	wantIn(t, text, "wasmxds_envoys_draining 1", `wasmxds_envoys{state="running"} 2`)

	before := s.Server.overview().digest
	s.run(0)
	s.later()
	if s.Server.overview().digest == before {
		t.Error("open pages are not told that all is drained")
	}
	_, page = get(t, h, "/")
	wantIn(t, page, "Healthy · 2 Envoys<")
	_, text = get(t, h, "/metrics")
	wantIn(t, text, "wasmxds_envoys_draining 0")
}
