package module

import (
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	pluginv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/definition"
	"wasmxds/state/statetest"
)

// machine is what a Resolver finds after a restart.
type machine struct {
	t       *testing.T
	dir     string // of its state
	options Options
	end     func() // ends the last process
}

func newMachine(t *testing.T) *machine {
	return &machine{t, t.TempDir(), Options{Store: newStore(t)}, func() {}}
}

// start ends the last process, and starts another.
func (m *machine) start() *resolving {
	m.t.Helper()
	m.end()
	process := statetest.Start(m.t, m.dir)
	m.options.State = process.Writer
	m.options.Store, _ = Open(m.options.Store.dir)
	r := resolve(m.t, m.options)
	m.end = func() {
		r.stop()
		process.End()
	}
	return r
}

// TestRestart checks that everything continues after a restart with the origin
// unavailable, from the first Set on.
func TestRestart(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Write(content)
	})
	m := newMachine(t)
	f := wanted("hello", origin.URL)
	first := m.start()
	first.set(f)
	first.until(Good, content)
	restart := m.start
	origin.set(refuses(503))

	t.Run("unchanged", func(t *testing.T) {
		set := restart().set(wanted("hello", origin.URL))
		if got := set.Filters[0]; got.State != Good || got.Module.SHA256 != sumOf(content) {
			t.Errorf("first Set: %+v", got)
		}
	})
	t.Run("new configuration", func(t *testing.T) {
		f2 := wanted("hello", origin.URL)
		f2.RootID = "new"
		r := restart()
		set := r.set(f2)
		if got := set.Filters[0]; got.State != Good || got.Definition != f2 || got.Module.SHA256 != sumOf(content) {
			t.Errorf("first Set: %+v", got)
		}
		set = r.next(func(s *Set) bool { return len(s.Problems) == 1 })
		if p := set.Problems[0]; !p.Warning || !strings.Contains(p.Message, "503 Service Unavailable; it is not known whether it has changed") {
			t.Errorf("%+v", p)
		}
		f3 := wanted("hello", origin.URL) // unchanged
		r.set(f3)
		r.until(Good, content)
		r.stop()
	})
	t.Run("new URL that can't be had", func(t *testing.T) {
		r := restart()
		set := r.set(wanted("hello", origin.URL+"2"))
		got := set.Filters[0]
		if got.State == Good || got.Module.SHA256 != sumOf(content) || got.Definition.Module.URL != f.Module.URL {
			t.Errorf("first Set: %+v", got)
		}
		r.until(Failed, content)
		r.stop()
	})
	t.Run("module lost", func(t *testing.T) {
		if err := os.Remove(m.options.Store.path(sumOf(content))); err != nil {
			t.Fatal(err)
		}
		r := restart()
		r.set(wanted("hello", origin.URL))
		r.until(Failed, nil)
		origin.set(gives(content))
		r.until(Good, content)
	})
}

// TestRegained checks that a module of a filter in force that no definition
// wants any more is fetched by its content, as long as it is needed.
func TestRegained(t *testing.T) {
	content, other := filter("old"), filter("new")
	origin := newOrigin(t, refuses(503))
	m := newMachine(t)
	old := wanted("hello", origin.URL+"/old")
	m.options.InForce = []*Filter{{Definition: old, Module: Info{SHA256: sumOf(content), ABI: "0.2.1"}}, {Definition: wanted("never", origin.URL+"/never")}}
	m.options.Needed = func() []string { return []string{sumOf(content)} }
	m.start()
	origin.set(gives(other)) // other content is not accepted
	origin.set(gives(content))
	eventually(t, func() error {
		_, err := m.options.Store.Stat(sumOf(content))
		return err
	})
}

// TestPullPolicies checks that a settled tag isn't fetched again after a
// restart.
func TestPullPolicies(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	m := newMachine(t)
	f := wanted("hello", origin.URL)
	f.Module.Pull = definition.PullIfNotPresent
	for range 2 {
		r := m.start()
		r.set(f)
		r.until(Good, content)
	}
	if n := origin.requests.Load(); n != 1 {
		t.Errorf("%d requests, want one at the first start only", n)
	}

	f = wanted("hello", origin.URL)
	f.Module.Pull = definition.PullAlways
	r := m.start()
	r.set(f)
	r.until(Good, content)
	origin.set(gives(filter("y")))
	again := *f
	r.set(&again)
	r.until(Good, filter("y"))
}

func TestSettled(t *testing.T) {
	for _, test := range []struct {
		url  string
		pull definition.PullPolicy
		want bool
	}{
		{"oci://registry:5000/a/b", "", false},
		{"oci://registry:5000/a/b:latest", "", false},
		{"oci://registry:5000/a/b:v1", "", true},
		{"oci://registry:5000/a/b:v1", definition.PullAlways, false},
		{"oci://registry:5000/a/b@sha256:00", "", true},
		{"https://host:80/a.wasm", "", false},
		{"https://host:80/a.wasm", definition.PullIfNotPresent, true},
	} {
		if got := (originKey{url: test.url, pull: test.pull}).settled(); got != test.want {
			t.Errorf("%s %q: %v", test.url, test.pull, got)
		}
	}
}

// TestRestartOfMany has more modules than are verified concurrently.
func TestRestartOfMany(t *testing.T) {
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { w.Write(filter(r.URL.Path)) })
	m := newMachine(t)
	var filters []*definition.Filter
	for i := range 100 {
		name := "filter-" + strconv.Itoa(i)
		filters = append(filters, wanted(name, origin.URL+"/"+name))
	}
	good := func(s *Set) bool {
		return !slices.ContainsFunc(s.Filters, func(f *Filter) bool { return f.State != Good })
	}
	first := m.start()
	first.set(filters...)
	first.next(good)
	if !good(m.start().set(filters...)) {
		t.Error("not all are good in the first Set after a restart")
	}
}

func TestRestoreBadState(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":        "{",
		"other type":     `{"definition": 1}`,
		"bad message":    `{"definition": {"Name": "hello", "Config": "AQ=="}}`,
		"another's name": `{"definition": {"Name": "other"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			process := statetest.Start(t, t.TempDir())
			for _, key := range []string{"modules/filter/hello", "modules/filter/gone", "modules/origin/hello"} {
				if _, err := process.Store.Put(t.Context(), key, []byte(content), 0); err != nil {
					t.Fatal(err)
				}
			}
			origin := newOrigin(t, gives(filter("x")))
			r := resolve(t, Options{State: process.Writer})
			r.set(wanted("hello", origin.URL))
			r.until(Good, filter("x"))
			if err := process.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			kept := process.Written(t, "modules/")
			if len(kept) != 2 || !strings.Contains(kept["filter/hello"], sumOf(filter("x"))) {
				t.Errorf("kept: %q", kept)
			}
		})
	}
}

// TestSavedDefinition checks that every field of a definition is restored.
func TestSavedDefinition(t *testing.T) {
	message, err := anypb.New(wrapperspb.String("x"))
	if err != nil {
		t.Fatal(err)
	}
	want := &definition.Filter{
		Name: "hello", Kind: "WasmFilter", VariantOf: "base", Singleton: true, Pos: definition.Position{File: "a.yaml", Line: 3},
		Module: definition.Module{URL: "oci://a/b", SHA256: "00", Fetch: definition.Mirror, Pull: "always", PullSecret: "s"},
		Config: message, ConfigSecret: &definition.SecretKey{Name: "s", Key: "k"}, VMConfig: message, RootID: "r", VMID: "v",
		Attach: definition.Attach{
			Nodes:     definition.Selector{IDs: []string{"*"}, Clusters: []string{"c"}, Labels: map[string]string{"a": "b"}},
			Listeners: []definition.ListenerMatch{{Direction: definition.Inbound, Names: []string{"web"}, Ports: []uint32{80}}},
		},
		Order: 7, Place: definition.Place{At: definition.First, Before: "b"}, OnFailure: definition.Open, Env: map[string]string{"A": "b"}, HostEnv: []string{"C"},
		Allow: []string{}, AllowComputed: true, Verify: definition.VerifyRun,
		Lua: &definition.Lua{Script: "x = 1"},
		Wasm: &wasmv3.Wasm{Config: &pluginv3.PluginConfig{
			Name: "x", Vm: &pluginv3.PluginConfig_VmConfig{VmConfig: &pluginv3.VmConfig{VmId: "v"}},
		}},
	}
	for i := range reflect.TypeFor[definition.Filter]().NumField() {
		if reflect.ValueOf(*want).Field(i).IsZero() {
			t.Errorf("%s is not tested here", reflect.TypeFor[definition.Filter]().Field(i).Name)
		}
	}
	m := newMachine(t)
	m.start()
	written := newMemory(m.options.State, m.options.State)
	written.keep(good{definition: want})
	m.start()
	l := &resolution{Resolver: New(m.options), ctx: t.Context(), memory: newMemory(m.options.State, m.options.State), filters: map[string]*wantedFilter{}, accepted: map[string]accepted{}}
	l.restore()
	got := l.filters["hello"]
	if got == nil {
		t.Fatal("nothing restored")
	}
	if diff := cmp.Diff(want, got.good.definition, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
