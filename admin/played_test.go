package admin

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// played is a fleet of many Envoys and filters: most are healthy, one in 250
// rejects a filter, a few are fetching one, and some are gone.
func played(envoys, filters int, now time.Time) (fleet, Loaded) {
	names := []string{"auth", "cors", "rate-limit", "geo", "headers", "quota", "tracing", "tenant", "waf", "canary-cookie"}
	l := Loaded{Set: &module.Set{}, Files: filters, Changed: now.Add(-3 * time.Minute)}
	versions := catalog{}
	for i := range filters {
		name := names[i%len(names)]
		if i >= len(names) {
			name = fmt.Sprintf("%s-%d", name, i/len(names)+1)
		}
		version := fmt.Sprintf("%08x%08x", 0x82986c2c+i*7919, i*104729)
		d := &definition.Filter{Name: name, Kind: "WasmFilter", RootID: version, Pos: definition.Position{File: "/etc/wasmxds/" + name + ".yaml", Line: 2},
			Module: definition.Module{URL: "file:///etc/wasmxds/" + name + ".wasm", Fetch: definition.Mirror}}
		l.Set.Filters = append(l.Set.Filters, &module.Filter{Definition: d, Wanted: d, State: module.Good, Module: module.Info{SHA256: sha, Size: 184_000, ABI: "0.2.1"}})
		versions[name] = version
	}
	slices.SortFunc(l.Set.Filters, func(a, b *module.Filter) int { return strings.Compare(a.Definition.Name, b.Definition.Name) })
	l.Catalog = versions
	const failing, fetched = "rate-limit", "auth"
	clusters := []string{"edge-eu", "edge-us", "internal", "payments", "search"}
	var f fleet
	for i := range envoys {
		cluster := clusters[i%min(len(clusters), 1+envoys/8)]
		n := xds.NodeStatus{ID: fmt.Sprintf("%s-%05d", cluster, i), Cluster: cluster, Version: "1.40.0", Protocol: "delta", Peer: fmt.Sprintf("10.0.%d.%d:41000", i/250, i%250),
			Labels: map[string]string{"zone": string('a' + rune(i%3)), "tier": "web"}, ConnectedSince: now.Add(-time.Hour)}
		for _, m := range l.Set.Filters {
			name := m.Definition.Name
			st := swap.FilterStatus{Name: name, Wanted: versions[name], Running: versions[name], State: swap.Running, Since: now.Add(-time.Hour)}
			switch {
			case name == failing && i%250 == 7:
				st.State, st.Running, st.Refused, st.WantedSince = swap.Failed, "0ddba110ddba11", true, now.Add(-4*time.Minute)
				st.Reason = "Envoy rejects the module: Plugin configuration failed: unknown field \"burts\"; it keeps running 0ddba110ddba11"
			case name == fetched && i%40 == 3:
				st.State, st.Running, st.WantedSince = swap.Fetching, "", now.Add(-20*time.Second)
				st.Reason = "Envoy downloads the module 5294007c04d6"
			}
			n.Filters = append(n.Filters, st)
		}
		f = append(f, n)
	}
	for i := range envoys / 10 {
		f = append(f, xds.NodeStatus{ID: fmt.Sprintf("gone-%05d", i), Cluster: clusters[0], AwaySince: now.Add(-12 * time.Minute)})
	}
	slices.SortFunc(f, func(a, b xds.NodeStatus) int { return strings.Compare(a.ID, b.ID) })
	return f, l
}

func playedServer(envoys, filters int) *Server {
	now := time.Now()
	f, l := played(envoys, filters, now)
	s := New(Options{Version: "v0.1.0", Fleet: f})
	s.Loaded(l)
	return s
}

// TestLargeFleet checks that problems come first, and the size of a page does
// not grow with the fleet.
func TestLargeFleet(t *testing.T) {
	for _, size := range []struct{ envoys, filters, most int }{{1, 3, 30_000}, {100, 500, 45_000}, {5000, 7, 45_000}, {10_000, 3, 45_000}} {
		s := playedServer(size.envoys, size.filters)
		for _, path := range []string{"/", "/envoys", "/filters", "/envoys?state=running"} {
			start := time.Now()
			code, page := get(t, s.Handler(), path)
			if code != 200 || len(page) > size.most {
				t.Errorf("%d Envoys, %d filters: %s: %d, %d bytes", size.envoys, size.filters, path, code, len(page))
			}
			t.Logf("%d Envoys, %d filters: %s: %d bytes in %v", size.envoys, size.filters, path, len(page), time.Since(start))
		}
	}
	s := playedServer(500, 7)
	_, page := get(t, s.Handler(), "/")
	wantIn(t, page, "2 of 500 Envoys reject rate-limit", "unknown field &#34;burts&#34;", "gone: 50", `href="/envoys/internal-00007"`, "icon-bad.svg")
	_, page = get(t, s.Handler(), "/envoys?q=zone%3Db&state=failed")
	if n := strings.Count(page, `<th scope="row">`); n != 1 {
		t.Errorf("%d Envoys of zone b that failed, want 1", n)
	}
	_, page = get(t, s.Handler(), "/envoys?state=running&page=3")
	wantIn(t, page, "101–150 of ")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/envoys?page=99999999999999999999&by=%00&state=%3Cb%3E", nil))
	if w.Code != 200 || strings.Contains(w.Body.String(), "<b>\"") {
		t.Errorf("odd choices: %d", w.Code)
	}
}
