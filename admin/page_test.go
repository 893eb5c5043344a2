package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/printable"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

func wantIn(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("no %q in\n%s", text, page)
		}
	}
}

func TestOverviewTellsHowFarASwapIs(t *testing.T) {
	s := newScene(t, 4)
	h := s.Server.Handler()
	_, page := get(t, h, "/")
	wantIn(t, page, "Healthy · 4 Envoys", "4 of 4 Envoys run all they should · 4 definitions in 1 file")

	s.load("good morning", definition.Problem{File: "more.yaml", Line: 7, Field: "module.sha256", Message: "63 hex digits, needs 64", Hint: "sha256sum prints it"})
	for i := range 3 {
		s.behind(i, swap.Fetching, "Envoy downloads the module")
	}
	s.behind(3, swap.Failed, "connection refused; it goes on")
	s.run(0)
	s.later()
	_, page = get(t, h, "/")
	wantIn(t, page,
		"1 of 4 Envoys does not get hello, and 1 more problem",
		"1 of 4 Envoys run all they should",
		">1 of 4</td>", "2 of 4 Envoys fetch hello",
		"more.yaml:7", "63 hex digits, needs 64", "sha256sum prints it",
		"connection refused; it goes on<",
	)
}

func TestFilterPageComparesVersions(t *testing.T) {
	s := newScene(t, 1)
	s.load("good <b>morning</b>")
	h := s.Server.Handler()
	_, page := get(t, h, "/filters/hello")
	wantIn(t, page, "/etc/wasmxds/filters.yaml:2", "2.7 MB", "what changed", "rootID: myapp-root-in")

	had := s.Server.history.of("hello")
	_, page = get(t, h, "/filters/hello?from="+had[1].Version+"&to="+had[0].Version)
	wantIn(t, page, "value: hello world", "value: good &lt;b&gt;morning&lt;/b&gt;", `class="removed"`, `class="added"`)

	if code, _ := get(t, h, "/filters/none"); code != 404 {
		t.Errorf("%d for a filter that is not there", code)
	}
}

// TestVersionsOfAFilter checks that a change of the place alone is a version,
// too, and that a version that Envoys reject is marked, even when it is no
// longer served.
func TestVersionsOfAFilter(t *testing.T) {
	s := newScene(t, 2)
	s.load("good morning")
	s.behind(0, swap.Failed, "Envoy rejects the module: no")
	s.change(0, func(n *xds.NodeStatus, _ *resource.Snapshot) { n.Filters[0].Refused = true })
	h := s.Server.Handler()
	s.later()
	_, page := get(t, h, "/filters/hello")
	wantIn(t, page, "1 of 2 Envoys rejects hello", "rejected by 1 Envoy", "good morning", `class="removed"`)
	s.load("good evening")
	s.run(0)
	s.later()
	_, page = get(t, h, "/filters/hello")
	wantIn(t, page, "rejected by 1 Envoy")

	l := *s.Server.loaded.Load()
	set := *l.Set
	set.Filters = slices.Clone(set.Filters)
	i := slices.IndexFunc(set.Filters, func(f *module.Filter) bool { return f.Definition.Name == "hello" })
	f, d := *set.Filters[i], *set.Filters[i].Definition
	d.Attach = definition.Attach{}
	f.Definition, set.Filters[i], l.Set = &d, &f, &set
	s.Server.Loaded(l)
	s.Server.Loaded(l) // no change is no version
	_, page = get(t, h, "/filters/hello")
	wantIn(t, page, "same filter, elsewhere", "direction: inbound")
	if had := s.Server.history.of("hello"); len(had) != 4 || had[0].ID != had[1].Version+".2" {
		t.Errorf("%d versions, the newest %s", len(had), had[0].ID)
	}

	set.Filters = slices.Clone(set.Filters)
	other, moved := f, d
	moved.Place, moved.Attach = definition.Place{At: definition.AuthZ}, definition.Attach{Listeners: []definition.ListenerMatch{{Routes: []string{"api"}}}}
	other.Definition, set.Filters[i] = &moved, &other
	s.Server.Loaded(l)
	_, page = get(t, h, "/filters/hello")
	wantIn(t, page, "place: authz", "- routes:")
}

// TestFilterPageTellsRoutes checks which routes have a filter off or with
// another configuration, and how many Envoys run that.
func TestFilterPageTellsRoutes(t *testing.T) {
	f := Filter{Name: "hello", FilterCount: xds.FilterCount{Running: 3, Nodes: 4}, Routes: []FilterRoute{{"web", "/health", "off"}, {"web", "api", "hello@1"}, {"web", "checkout", "on"}, {"web", "/new", "hello@2"}}}
	variant := Filter{Name: "hello@1", VariantOf: "hello", FilterCount: xds.FilterCount{Running: 2, Nodes: 4}, Routes: []FilterRoute{{"web", "api", "on"}}}
	all := []Filter{f, variant}
	want := []routeView{
		{FilterRoute: f.Routes[0]},
		{FilterRoute: f.Routes[1], Variant: "hello@1", On: true, Running: 2, Nodes: 4},
		{FilterRoute: f.Routes[2], On: true, Running: 3, Nodes: 4},
		{FilterRoute: f.Routes[3], Variant: "hello@2", On: true},
	}
	if got := viewRoutes(&f, all); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := viewRoutes(&variant, all); !slices.Equal(got, []routeView{{FilterRoute: variant.Routes[0], On: true, Running: 2, Nodes: 4}}) {
		t.Errorf("of the variant: %+v", got)
	}

	s := newScene(t, 1)
	h := s.Server.Handler()
	l := *s.Server.loaded.Load()
	set := *l.Set
	set.Listeners = slices.Clone(set.Listeners)
	i := slices.IndexFunc(set.Listeners, func(l *definition.Listener) bool { return l.Name == "web" })
	web := *set.Listeners[i]
	web.Routes = slices.Clone(web.Routes)
	web.Routes[0].Filters = []definition.RouteFilter{{Filter: "hello", Variant: "quota"}}
	web.Routes[1].Filters = []definition.RouteFilter{{Filter: "hello"}}
	set.Listeners[i], l.Set = &web, &set
	s.Server.Loaded(l)
	_, page := get(t, h, "/filters/hello")
	wantIn(t, page, `<h2 id="routes-title">Routes</h2>`, `<a href="/filters/quota">quota</a>`, "<code>/api</code>", `<span class="muted">off</span>`)
	if _, page = get(t, h, "/filters/quota"); strings.Contains(page, "routes-title") {
		t.Error("a filter that is everywhere has routes")
	}
}

// TestEnvoyPageTellsFailuresFirst checks that rejections are shown once with
// their number, and that NACKs which only mean a fetch are not failures.
func TestEnvoyPageTellsFailuresFirst(t *testing.T) {
	s := newScene(t, 1)
	s.behind(0, swap.Failed, "Envoy rejects the module: no")
	s.change(0, func(n *xds.NodeStatus, _ *resource.Snapshot) {
		n.Version, n.Filters[0].Refused = "1.40.0", true
		n.NACKs = []xds.NACK{
			{Type: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", Message: "cache miss", Times: 7, Fetching: true},
			{Type: "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig", Message: "unknown field", Times: 3},
		}
	})
	_, page := get(t, s.Server.Handler(), "/envoys/edge-01")
	wantIn(t, page, "Envoy 1.40.0", "rejected, ", "rejects the module: no", "<td>3</td>", "unknown field", "answered 7 times that it fetches", "1 of 2 filters as wanted")
	if strings.Contains(page, "cache miss") {
		t.Error("a NACK of a fetch is shown")
	}
	if strings.Index(page, "rejects the module: no") > strings.Index(page, "as wanted") {
		t.Error("what is well comes before what is not")
	}
}

func TestEnvoyPageDrawsItsListeners(t *testing.T) {
	s := newScene(t, 1)
	_, page := get(t, s.Server.Handler(), "/envoys/edge-01")
	// Both filters, in order, and then the upstreams.
	at := 0
	for _, text := range []string{"<h3>web</h3>", "to 127.0.0.1:8080", ">quota</a>", ">hello</a>", "127.0.0.1:9001", "127.0.0.1:9000"} {
		i := strings.Index(page[at:], text)
		if i < 0 {
			t.Fatalf("no %q where it belongs in\n%s", text, page[at:])
		}
		at += i
	}
	if code, _ := get(t, s.Server.Handler(), "/envoys/none"); code != 404 {
		t.Errorf("%d for an Envoy that is not there", code)
	}
	_, list := get(t, s.Server.Handler(), "/envoys")
	wantIn(t, list, `href="/envoys/edge-01"`)
}

// TestVerdicts checks the summary for each state.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name string
		of   int
		is   swap.FilterStatus
		want string
	}{
		{"well", 3, swap.FilterStatus{State: swap.Running}, "Healthy · 3 Envoys"},
		{"ready", 1, swap.FilterStatus{State: swap.Unplaced}, "Healthy · 1 Envoy"},
		{"refused", 3, swap.FilterStatus{State: swap.Failed, Refused: true, Reason: "no"}, "1 of 3 Envoys rejects hello"},
		{"refused by the only one", 1, swap.FilterStatus{State: swap.Failed, Refused: true, Reason: "no"}, "The one Envoy rejects hello"},
		{"not got", 3, swap.FilterStatus{State: swap.Failed, Reason: "no"}, "1 of 3 Envoys does not get hello"},
		{"crashed", 1, swap.FilterStatus{State: swap.Running, Crashes: &swap.Crashes{Version: "b2", Count: 1}}, "hello crashed on the one Envoy"},
		{"fetching", 3, swap.FilterStatus{State: swap.Fetching}, "Updating · 2 of 3 Envoys up to date"},
	} {
		var f fleet
		for i := range c.of {
			st := swap.FilterStatus{Name: "hello", Wanted: "b2", Running: "b2", State: swap.Running}
			if i == 0 {
				st = c.is
				st.Name = "hello"
			}
			f = append(f, xds.NodeStatus{ID: string('a' + rune(i)), ConnectedSince: noon, Filters: []swap.FilterStatus{st}})
		}
		s := newServer(f)
		l := someLoaded()
		l.Problems = nil
		s.Loaded(l)
		_, page := get(t, s.Handler(), "/")
		wantIn(t, page, "</i>"+c.want+"</h1>", "<title>"+c.want)
	}
}

// TestFailureWithoutReason checks Envoys about which less is known, from
// another replica or a later version.
func TestFailureWithoutReason(t *testing.T) {
	s := newServer(fleet{{ID: "a", Filters: []swap.FilterStatus{
		{Name: "auth", Wanted: "1", State: swap.Failed},
		{Name: "hello", Wanted: "2", State: swap.Failed, Reason: "no"},
	}}})
	l := someLoaded()
	l.Problems = nil
	s.Loaded(l)
	_, page := get(t, s.Handler(), "/")
	wantIn(t, page, "does not get auth", "does not get hello", `<p class="words">no</p>`)
}

// TestMoreThanAreNamed checks that the number of Envoys that are not listed is
// shown, with a link to a list of them if there is one.
func TestMoreThanAreNamed(t *testing.T) {
	const all = shownNodes + 3
	var f fleet
	for i := range all {
		f = append(f, xds.NodeStatus{ID: fmt.Sprintf("edge-%02d", i), Filters: []swap.FilterStatus{{Name: "hello", Wanted: "b2", Running: "b2", State: swap.Running,
			Crashes: &swap.Crashes{Version: "b2", Count: 1, Last: noon}, Draining: &swap.Draining{}}}})
	}
	s := newServer(f)
	l := someLoaded()
	l.Problems = nil
	s.Loaded(l)
	_, page := get(t, s.Handler(), "/")
	wantIn(t, page, fmt.Sprintf("hello crashed on %d of %d Envoys", all, all), fmt.Sprintf("Older connections of %d Envoys", all))
	if n := strings.Count(page, `<span class="muted">and 3 more</span>`); n != 2 || strings.Contains(page, `href=""`) {
		t.Errorf("%d times 3 more, want 2, and no link to nowhere, in\n%s", n, page)
	}
	for i := range f {
		f[i].Filters[0] = swap.FilterStatus{Name: "hello", Wanted: "b2", State: swap.Fetching}
	}
	s = newServer(f)
	s.Loaded(l)
	_, page = get(t, s.Handler(), "/")
	wantIn(t, page, `<a href="/envoys?state=fetching">and 3 more</a>`)
}

// TestTurnedAwayIsShown checks that clients that were denied a stream are
// combined by reason.
func TestTurnedAwayIsShown(t *testing.T) {
	var all []xds.TurnedAway
	for _, node := range []string{"edge-8", "edge-9", ""} {
		all = append(all, xds.TurnedAway{Node: node, Peer: "10.0.0.9:4711", Reason: "no certificate <b>", Since: time.Now(), Last: time.Now(), Times: 3})
	}
	s := New(Options{Fleet: someFleet()[:1], Sources: Sources{TurnedAway: func() []xds.TurnedAway { return all }}})
	l := someLoaded()
	l.Problems = nil
	s.Loaded(l)
	_, page := get(t, s.Handler(), "/")
	wantIn(t, page, "2 clients turned away</h1>", "1 client turned away", "edge-9 from 10.0.0.9:4711", "no certificate &lt;b&gt;")
}

// TestHostileNames checks that names from others are escaped wherever they are
// shown.
func TestHostileNames(t *testing.T) {
	const evil = `"'><script>alert(1)</script><img src=x onerror=alert(1)>javascript:`
	f := someFilter("b2")
	f.Definition.Name, f.Definition.Pos.File = evil, evil
	s := New(Options{Fleet: fleet{
		{ID: evil, Cluster: evil, Version: evil, Labels: map[string]string{evil: evil}, Filters: []swap.FilterStatus{
			{Name: evil, Wanted: evil, State: swap.Failed, Reason: evil, Refused: true, Crashes: &swap.Crashes{Version: evil, Count: 1}}},
			Listeners: []swap.ListenerStatus{{Name: evil, Wanted: "1", Reason: evil}}, NACKs: []xds.NACK{{Type: evil, Message: evil}}},
	}, Start: Start{Directory: evil, Elsewhere: []string{evil}, Definition: evil, Apply: evil, Bootstrap: []string{evil}}})
	for range 2 {
		for _, path := range []string{"/", "/filters", "/envoys", "/envoys?by=" + url.QueryEscape(evil), "/envoys?q=" + url.QueryEscape(evil) + "&state=" + url.QueryEscape(evil),
			"/envoys/" + url.PathEscape(evil), "/filters/" + url.PathEscape(evil), "/rollouts"} {
			_, page := get(t, s.Handler(), path)
			for _, bad := range []string{"<script>alert", "<img src=x", `href="javascript:`} {
				if strings.Contains(page, bad) {
					t.Errorf("%s: %s", path, bad)
				}
			}
			if !strings.Contains(page, "<main") {
				t.Errorf("%s: no page", path)
			}
		}
		s.Loaded(Loaded{Set: &module.Set{Filters: []*module.Filter{f}}, Catalog: catalog{evil: "b2"},
			Problems: []definition.Problem{{File: evil, Field: evil, Message: evil, Hint: evil}}})
	}
}

func TestNamesAreEscaped(t *testing.T) {
	const odd = `a/b?c#d"<script>`
	s := New(Options{Fleet: fleet{{ID: odd}}})
	s.Loaded(someLoaded())
	_, page := get(t, s.Handler(), "/envoys")
	if strings.Contains(page, "<script>") {
		t.Error("not escaped")
	}
	i := strings.Index(page, `href="/envoys/`)
	path, _, _ := strings.Cut(page[i+len(`href="`):], `"`)
	if code, page := get(t, s.Handler(), path); code != 200 || !strings.Contains(page, "a/b?c#d") {
		t.Errorf("%s: %d", path, code)
	}
}

// TestAwayIsShown checks that an Envoy that was connected and is not is on each
// page, and does not count as running what is wanted.
func TestAwayIsShown(t *testing.T) {
	s := newScene(t, 2)
	s.nodes = append(s.nodes, xds.NodeStatus{ID: "gone", AwaySince: time.Now().Add(-time.Minute), Awaited: true,
		Filters: []swap.FilterStatus{{Name: "hello", State: swap.Away, Reason: "it has disconnected, and may reconnect"}}})
	h := s.Server.Handler()
	_, page := get(t, h, "/")
	wantIn(t, page, "Healthy · 2 Envoys", "1 Envoy away, may come back", `title="gone: away"`)
	_, page = get(t, h, "/envoys")
	wantIn(t, page, `href="/envoys?state=away"`, `href="/envoys/gone"`)
	_, page = get(t, h, "/envoys/gone")
	wantIn(t, page, "last seen", "it has disconnected, and may reconnect")
	_, text := get(t, h, "/api/v1/status")
	wantIn(t, text, `"connected": 2`, `"awaited": 1`, `"awaySince"`)
	_, text = get(t, h, "/metrics")
	wantIn(t, text, `wasmxds_envoys{state="running"} 2`, "wasmxds_envoys_away 1")
}

// TestTextOfOthers checks that bidirectional and invisible characters are
// escaped on every page, in JSON and in plain text.
func TestTextOfOthers(t *testing.T) {
	const odd = "a\u202e\u2066\u200b\x1b[2J\x7f\u009b\u2028z"
	s := New(Options{Version: "1", Fleet: fleet{{
		ID: "edge-1", Cluster: odd, Labels: map[string]string{odd: odd}, Peer: odd,
		Filters:   []swap.FilterStatus{{Name: "hello", State: swap.Failed, Reason: odd}},
		Listeners: []swap.ListenerStatus{{Name: odd, Wanted: "1", Reason: odd}},
		NACKs:     []xds.NACK{{Type: odd, Message: odd}},
	}}})
	l := someLoaded()
	l.Problems = append(l.Problems, definition.Problem{File: odd, Field: odd, Message: odd, Hint: odd})
	s.Loaded(l)
	for _, path := range []string{"/", "/?findings=all", "/filters", "/envoys?state=failed", "/envoys?q=" + url.QueryEscape(odd), "/envoys?by=" + url.QueryEscape(odd) + "&in=" + url.QueryEscape(odd), "/envoys", "/envoys/edge-1", "/filters/hello", "/filters/" + url.PathEscape(odd), "/envoys/" + url.PathEscape(odd),
		"/api/v1/status", "/api/v1/status?limit=" + url.QueryEscape(odd), "/metrics"} {
		_, text := get(t, s.Handler(), path)
		if printable.Lines(text) != text {
			t.Errorf("%s: %+q", path, text)
		}
	}
	_, text := get(t, s.Handler(), "/api/v1/status")
	var st Status
	if err := json.Unmarshal([]byte(text), &st); err != nil || st.Nodes[0].Cluster != odd || st.Definitions.Errors[len(st.Definitions.Errors)-1].Message != odd {
		t.Errorf("%v; the status is read as %+v", err, st)
	}
}

func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	s := newScene(t, 1)
	w := httptest.NewRecorder()
	s.Server.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy: %s", csp)
	}
	for _, asset := range []string{"style.css", "live.js", "icon.svg", "icon-bad.svg", "icon-off.svg"} {
		code, text := get(t, s.Server.Handler(), "/assets/"+asset)
		if code != 200 || strings.Contains(strings.ReplaceAll(text, "http://www.w3.org/2000/svg", ""), "http") {
			t.Errorf("%s: %d, or it names another host", asset, code)
		}
	}
	if code, _ := get(t, s.Server.Handler(), "/nowhere"); code != 404 {
		t.Errorf("%d for a page that is not there", code)
	}
}

func TestEventsTellOfChanges(t *testing.T) {
	s := newScene(t, 2)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	resp, err := http.Get(srv.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	changes := make(chan struct{}, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			if lines.Text() == "event: change" {
				changes <- struct{}{}
			}
		}
	}()
	want := func(ch <-chan struct{}, what string) {
		t.Helper()
		select {
		case <-ch:
		case <-time.After(time.Minute):
			t.Fatalf("nothing told of %s", what)
		}
	}
	want(changes, "the beginning")
	s.behind(0, swap.Fetching, "")
	want(changes, "a node's new state")
	s.load("another")
	want(changes, "new definitions")
	s.Server.Drain()
	want(ended, "the end")
}

// TestEmptyPagesTeach checks that pages without a filter or an Envoy show how
// to add the first ones to this server.
func TestEmptyPagesTeach(t *testing.T) {
	s := New(Options{Fleet: fleet{}, Start: Start{Directory: "/etc/wasmxds<b>", Definition: FirstDefinition,
		Bootstrap: []string{"xds-server bootstrap --node-id edge-1", "--xds-address xds.internal:18000", "--ca ca.crt"}}})
	s.Loaded(Loaded{Set: &module.Set{}, Catalog: catalog{}})
	h := s.Handler()
	_, page := get(t, h, "/")
	wantIn(t, page, "No Envoy is connected", "/etc/wasmxds&lt;b&gt;/hello.yaml", "kind: WasmFilter", "--xds-address xds.internal:18000 \\\n    --ca ca.crt &gt; envoy.yaml")
	_, page = get(t, h, "/filters")
	wantIn(t, page, "kind: WasmFilter")
	_, page = get(t, h, "/envoys")
	wantIn(t, page, "--ca ca.crt")
	if _, problems := (definition.Parser{}).Parse("/etc/wasmxds/hello.yaml", []byte(FirstDefinition)); len(problems) > 0 {
		t.Errorf("what is to be pasted is wrong: %v", problems)
	}
}
