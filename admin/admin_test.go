package admin

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", path, diff)
	}
}

// fleet is a Fleet of nodes that never change.
type fleet []xds.NodeStatus

func (f fleet) Nodes(after string, limit int) ([]xds.NodeStatus, string) {
	i, found := slices.BinarySearchFunc(f, after, func(n xds.NodeStatus, id string) int { return strings.Compare(n.ID, id) })
	if found {
		i++
	}
	page := f[i:]
	if len(page) <= limit {
		return page, ""
	}
	return page[:limit], page[limit-1].ID
}

func (f fleet) Node(id string) (xds.NodeStatus, bool) {
	i, found := slices.BinarySearchFunc(f, id, func(n xds.NodeStatus, id string) int { return strings.Compare(n.ID, id) })
	if !found {
		return xds.NodeStatus{}, false
	}
	return f[i], true
}

func (f fleet) Generation() uint64 { return 0 }

func (f fleet) Summary() (xds.NodeCount, map[string]xds.FilterCount) {
	envoys, counts := xds.NodeCount{}, map[string]xds.FilterCount{}
	for _, n := range f {
		if n.AwaySince.IsZero() {
			envoys.Connected++
		} else {
			envoys.Away++
			if n.Awaited {
				envoys.Awaited++
			}
			continue
		}
		old := slices.ContainsFunc(n.Listeners, func(l swap.ListenerStatus) bool { return l.Draining != nil })
		for _, nf := range n.Filters {
			c := counts[nf.Name]
			c.Nodes++
			if nf.Draining != nil {
				c.Draining, old = c.Draining+1, true
			}
			switch nf.State {
			case swap.Running:
				c.Running++
			case swap.Failed:
				c.Failed++
			default:
				c.Pending++
			}
			counts[nf.Name] = c
		}
		if old {
			envoys.Draining++
		}
	}
	return envoys, counts
}

var (
	noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sha  = strings.Repeat("2c26b4", 10) + "2c26"
)

// someFleet returns a fleet with one Envoy in each state.
func someFleet() fleet {
	node := func(id string, state swap.State, running, reason string) xds.NodeStatus {
		return xds.NodeStatus{ID: id, Cluster: "edge", ConnectedSince: noon.Add(-time.Hour), Filters: []swap.FilterStatus{{
			Name: "hello", Wanted: "b2", Running: running, State: state, Reason: reason, Since: noon.Add(-time.Minute)}}}
	}
	return fleet{
		node("edge-1", swap.Running, "b2", ""),
		node("edge-2", swap.Fetching, "a1", "Envoy is fetching the module"),
		node("edge-3", swap.Failed, "a1", "connection refused; it keeps running a1"),
		node("edge-4", swap.Waiting, "", "for its listener"),
	}
}

// catalog is a Catalog with versions by filter name, and no snapshots.
type catalog map[string]string

func (c catalog) Snapshot(definition.Node) *resource.Snapshot { return &resource.Snapshot{} }

func (c catalog) Filter(name string) *resource.Filter {
	return &resource.Filter{Name: name, Version: c[name]}
}

func someFilter(version string) *module.Filter {
	d := &definition.Filter{
		Name: "hello", Kind: "WasmFilter", RootID: version,
		Pos:    definition.Position{File: "filters/hello.yaml", Line: 2},
		Module: definition.Module{URL: "file:///filters/hello.wasm", Fetch: definition.Mirror},
	}
	return &module.Filter{
		Definition: d, Wanted: d, State: module.Good,
		Module: module.Info{SHA256: sha, Size: 2718, ABI: "0.2.1"},
	}
}

func someLoaded() Loaded {
	return Loaded{
		Set:     &module.Set{Filters: []*module.Filter{someFilter("b2")}},
		Catalog: catalog{"hello": "b2"},
		Files:   2, Changed: noon.Add(-time.Minute),
		Problems: []definition.Problem{
			{File: "filters/other.yaml", Line: 7, Field: "module.sha256", Message: "63 hex digits, needs 64", Hint: "sha256sum other.wasm prints it"},
			{File: "filters/hello.yaml", Line: 4, Message: "no listener matches", Warning: true},
		},
	}
}

func newServer(f Fleet) *Server {
	return New(Options{Version: "v1.2.3", Fleet: f, Now: func() time.Time { return noon }})
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

func TestStatusDocument(t *testing.T) {
	s := newServer(someFleet())
	_, empty := get(t, s.Handler(), "/api/v1/status")
	golden(t, "status-starting.json", []byte(empty))
	s.Loaded(someLoaded())
	_, whole := get(t, s.Handler(), "/api/v1/status")
	golden(t, "status.json", []byte(whole))
}

func TestStatusPages(t *testing.T) {
	h := newServer(someFleet()).Handler()
	for query, want := range map[string]string{
		"":                      "edge-1 edge-2 edge-3 edge-4;",
		"?limit=2":              "edge-1 edge-2; edge-2",
		"?limit=2&after=edge-2": "edge-3 edge-4;",
		"?limit=9&after=edge-9": ";",
		"?limit=999999":         "edge-1 edge-2 edge-3 edge-4;",
	} {
		code, body := get(t, h, "/api/v1/status"+query)
		var st Status
		if err := json.Unmarshal([]byte(body), &st); code != 200 || err != nil {
			t.Fatalf("%s: %d %v", query, code, err)
		}
		var ids []string
		for _, n := range st.Nodes {
			ids = append(ids, n.ID)
		}
		if got := strings.TrimSpace(fmt.Sprintf("%s; %s", strings.Join(ids, " "), st.Next)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for _, query := range []string{"?limit=0", "?limit=-1", "?limit=many"} {
		if code, body := get(t, h, "/api/v1/status"+query); code != 400 {
			t.Errorf("%s: %d %s, want 400", query, code, body)
		}
	}
}

func TestClientGetsAllPages(t *testing.T) {
	var many fleet
	for i := range 2*maxNodes + 1 {
		many = append(many, xds.NodeStatus{ID: fmt.Sprintf("edge-%05d", i)})
	}
	srv := httptest.NewServer(newServer(many).Handler())
	defer srv.Close()
	st, err := (&Client{URL: srv.URL + "/", HTTP: srv.Client()}).Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Nodes) != len(many) || st.Nodes[len(many)-1].ID != many[len(many)-1].ID || st.Next != "" {
		t.Errorf("%d nodes, next %q; want %d", len(st.Nodes), st.Next, len(many))
	}
}

func TestReadiness(t *testing.T) {
	s := newServer(fleet{})
	h := s.Handler()
	want := func(path string, code int) {
		t.Helper()
		if got, body := get(t, h, path); got != code {
			t.Errorf("%s: %d %s, want %d", path, got, body, code)
		}
	}
	want("/healthz", 200)
	want("/readyz", 503)
	s.Loaded(someLoaded())
	want("/readyz", 200)
	s.Drain()
	want("/readyz", 503)
	want("/healthz", 200)
	want("/debug/pprof/", 404)
	want("/debug/pprof/cmdline", 404)
}

func TestPprofOnRequest(t *testing.T) {
	h := New(Options{Fleet: fleet{}, Pprof: true}).Handler()
	if code, _ := get(t, h, "/debug/pprof/"); code != 200 {
		t.Errorf("%d, want 200", code)
	}
}

func TestDone(t *testing.T) {
	good := func() *Status {
		return &Status{Ready: true, Envoys: xds.NodeCount{Connected: 2}, Filters: []Filter{
			{Name: "hello", File: "hello.yaml", Version: "b2", SHA256: sha, State: module.Good, FilterCount: xds.FilterCount{Nodes: 2, Running: 2}},
			{Name: "other", File: "other.yaml", Version: "c3", State: module.Good, FilterCount: xds.FilterCount{Nodes: 1, Running: 1}},
		}}
	}
	pending := good()
	pending.Filters[0].Running, pending.Filters[0].Pending = 1, 1
	behind := good()
	behind.Envoys.Behind = 1
	failed := good()
	failed.Filters[1].State = module.Failed
	broken := good()
	broken.Definitions.Errors = []definition.Problem{{File: "other.yaml", Line: 1, Message: "no"}}
	for _, c := range []struct {
		title         string
		st            *Status
		name, version string
		want          bool
	}{
		{"all run", good(), "", "", true},
		{"no filter at all", &Status{Ready: true, Envoys: xds.NodeCount{Connected: 1}}, "", "", true},
		{"nothing loaded yet", &Status{}, "", "", false},
		{"one runs", good(), "hello", "", true},
		{"of this version", good(), "hello", "b2", true},
		{"of this module", good(), "hello", sha[:12], true},
		{"of another version", good(), "hello", "b3", false},
		{"none of that name", good(), "hullo", "", false},
		{"one Envoy is behind", pending, "", "", false},
		{"one Envoy lacks a listener", behind, "", "", false},
		{"one Envoy lacks a listener, the filter runs", behind, "hello", "", true},
		{"an Envoy of another filter is behind", pending, "other", "", true},
		{"a module can't be had", failed, "", "", false},
		{"another's module can't be had", failed, "hello", "", true},
		{"a file is wrong", broken, "", "", false},
		{"its file is wrong", broken, "other", "", false},
		{"another file is wrong", broken, "hello", "", true},
	} {
		if got := c.st.Done(c.name, c.version, Quorum{Min: 1}); got != c.want {
			t.Errorf("%s: %v", c.title, got)
		}
	}
}

// TestQuorum checks that Envoys that are not connected count as unknown.
func TestQuorum(t *testing.T) {
	status := func(connected, awaited, nodes, away int) *Status {
		return &Status{Ready: true, Envoys: xds.NodeCount{Connected: connected, Away: 10, Awaited: awaited}, Filters: []Filter{
			{Name: "hello", State: module.Good, FilterCount: xds.FilterCount{Nodes: nodes, Running: nodes, Away: away}},
		}}
	}
	for _, c := range []struct {
		title string
		st    *Status
		name  string
		q     Quorum
		want  bool
	}{
		{"nobody", status(0, 0, 0, 0), "", Quorum{Min: 1}, false},
		{"nobody, which is enough", status(0, 0, 0, 0), "", Quorum{}, true},
		{"nobody for the filter", status(3, 0, 0, 0), "hello", Quorum{Min: 1}, false},
		{"nobody for the filter, all others are there", status(3, 0, 0, 0), "", Quorum{Min: 1}, true},
		{"too few", status(2, 0, 2, 0), "", Quorum{Min: 3}, false},
		{"too few for the filter", status(3, 0, 2, 0), "hello", Quorum{Min: 3}, false},
		{"enough", status(3, 0, 3, 0), "hello", Quorum{Min: 3}, true},
		{"one is away", status(3, 1, 3, 1), "", Quorum{Min: 1}, false},
		{"one that is to have the filter is away", status(3, 1, 3, 1), "hello", Quorum{Min: 3}, false},
		{"one that is not to have it is away", status(3, 1, 3, 0), "hello", Quorum{Min: 1}, true},
		{"one is away for good", status(3, 1, 3, 1), "hello", Quorum{Min: 1, WithoutAway: true}, true},
		{"all are away for good", status(0, 3, 0, 3), "", Quorum{Min: 1, WithoutAway: true}, false},
	} {
		if got := c.st.Done(c.name, "", c.q); got != c.want {
			t.Errorf("%s: %v", c.title, got)
		}
	}
}

// TestBaseIsNotYetWhatIsWanted checks that, while changes are in progress, the
// version, module and history of a filter are those in force everywhere, and
// the state of its module is that of the directory's version.
func TestBaseIsNotYetWhatIsWanted(t *testing.T) {
	named := func(name, root, sha256 string, state module.State) *module.Filter {
		f := someFilter(root)
		d := *f.Definition
		d.Name, d.Pos.Line = name, len(root)
		f.Definition, f.Wanted, f.Module.SHA256, f.State, f.Reason = &d, &d, sha256, state, string(state)
		return f
	}
	s := newServer(fleet{})
	base := &module.Set{Filters: []*module.Filter{named("hello", "v1", "aa", module.Good), named("old", "v1", "bb", module.Good)}}
	set := &module.Set{Filters: []*module.Filter{named("hello", "v2+", "cc", module.Fetching), named("fresh", "v1", "dd", module.Good)}}
	s.Loaded(Loaded{Set: base, Catalog: catalog{"hello": "a1", "old": "b1"}})
	s.Loaded(Loaded{Set: set, Base: base, Catalog: catalog{"hello": "a1", "old": "b1"}})
	var got []string
	for _, f := range s.status().Filters {
		got = append(got, fmt.Sprintf("%s version %q module %s, line %d %s", f.Name, f.Version, f.SHA256, f.Line, f.State))
	}
	want := []string{`fresh version "" module dd, line 2 good`, `hello version "a1" module aa, line 3 fetching`, `old version "b1" module bb, line 2 good`}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n := s.status().Definitions.Loaded; n != 2 {
		t.Errorf("%d definitions in use", n)
	}
	// In force everywhere, and then rolled back, while the directory still has
	// v2.
	s.Loaded(Loaded{Set: set, Base: set, Catalog: catalog{"hello": "a2"}})
	s.Loaded(Loaded{Set: set, Base: base, Catalog: catalog{"hello": "a1"}})
	var had []string
	for _, v := range s.history.of("hello") {
		had = append(had, v.Version+" "+v.Filter.Definition.RootID)
	}
	if want := []string{"a1 v1", "a2 v2+", "a1 v1"}; !slices.Equal(had, want) {
		t.Errorf("had %q, want %q", had, want)
	}
}

func TestHistory(t *testing.T) {
	var h history
	load := func(v string, filters ...*module.Filter) {
		h.add(&Loaded{Set: &module.Set{Filters: filters}, Catalog: catalog{"hello": v}}, noon)
	}
	missing := someFilter("a")
	missing.Module = module.Info{}
	load("", missing) // never obtained: no version yet
	for i := range kept + 5 {
		load(fmt.Sprint(i), someFilter("a"))
		load(fmt.Sprint(i), someFilter("a")) // no change
	}
	got := h.of("hello")
	if len(got) != kept || got[0].Version != fmt.Sprint(kept+4) || got[1].Version != fmt.Sprint(kept+3) {
		t.Errorf("%d versions, the newest %v", len(got), got[:2])
	}
	load("")
	if got := h.of("hello"); got != nil {
		t.Errorf("removed, but still there: %v", got)
	}
}
