package module

import (
	"net/http"
	"os"
	"path/filepath"
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
)

// After a restart with the origin down, everything goes on, from the first
// Set on.
func TestRestart(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		w.Write(content)
	})
	options := Options{Store: newStore(t), State: filepath.Join(t.TempDir(), "modules.json")}
	f := wanted("hello", origin.URL)
	first := resolve(t, options)
	first.set(f)
	first.until(Good, content)
	first.stop()

	restart := func() *resolving {
		t.Helper()
		options.Store, _ = Open(options.Store.dir)
		return resolve(t, options)
	}
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
		if p := set.Problems[0]; !p.Warning || !strings.Contains(p.Message, "503 Service Unavailable; whether it has changed is not known") {
			t.Errorf("%+v", p)
		}
		f3 := wanted("hello", origin.URL) // as it was
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
		if err := os.Remove(options.Store.path(sumOf(content))); err != nil {
			t.Fatal(err)
		}
		r := restart()
		r.set(wanted("hello", origin.URL))
		r.until(Failed, nil)
		origin.set(gives(content))
		r.until(Good, content)
	})
}

// A settled tag isn't asked for when the program starts again.
func TestPullPolicies(t *testing.T) {
	content := filter("x")
	origin := newOrigin(t, gives(content))
	options := Options{Store: newStore(t), State: filepath.Join(t.TempDir(), "modules.json")}
	f := wanted("hello", origin.URL)
	f.Module.Pull = definition.PullIfNotPresent
	for range 2 {
		r := resolve(t, options)
		r.set(f)
		r.until(Good, content)
		r.stop()
	}
	if n := origin.requests.Load(); n != 1 {
		t.Errorf("%d requests, want one at the first start only", n)
	}

	f = wanted("hello", origin.URL)
	f.Module.Pull = definition.PullAlways
	r := resolve(t, options)
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

// TestRestartOfMany has more modules than are verified at once.
func TestRestartOfMany(t *testing.T) {
	origin := newOrigin(t, func(w http.ResponseWriter, r *http.Request) { w.Write(filter(r.URL.Path)) })
	options := Options{Store: newStore(t), State: filepath.Join(t.TempDir(), "modules.json")}
	var filters []*definition.Filter
	for i := range 100 {
		name := "filter-" + strconv.Itoa(i)
		filters = append(filters, wanted(name, origin.URL+"/"+name))
	}
	good := func(s *Set) bool {
		return !slices.ContainsFunc(s.Filters, func(f *Filter) bool { return f.State != Good })
	}
	first := resolve(t, options)
	first.set(filters...)
	first.next(good)
	first.stop()

	options.Store, _ = Open(options.Store.dir)
	if !good(resolve(t, options).set(filters...)) {
		t.Error("not all are good in the first Set after a restart")
	}
}

func TestRestoreBadState(t *testing.T) {
	for name, content := range map[string]string{
		"no JSON":         "{",
		"another version": `{"version": 99}`,
		"bad message":     `{"version": 1, "filters": [{"definition": {"Name": "hello", "Config": "AQ=="}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			state := filepath.Join(t.TempDir(), "modules.json")
			if err := os.WriteFile(state, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			origin := newOrigin(t, gives(filter("x")))
			r := resolve(t, Options{State: state})
			r.set(wanted("hello", origin.URL))
			r.until(Good, filter("x"))
			r.stop()
			if b, err := os.ReadFile(state); err != nil || !strings.Contains(string(b), sumOf(filter("x"))) {
				t.Errorf("state: %s, %v", b, err)
			}
		})
	}
}

// Every field of a definition survives.
func TestSavedDefinition(t *testing.T) {
	message, err := anypb.New(wrapperspb.String("x"))
	if err != nil {
		t.Fatal(err)
	}
	want := &definition.Filter{
		Name: "hello", Kind: "WasmFilter", Pos: definition.Position{File: "a.yaml", Line: 3},
		Module: definition.Module{URL: "oci://a/b", SHA256: "00", Fetch: definition.Mirror, Pull: "always", PullSecret: "s"},
		Config: message, VMConfig: message, RootID: "r", VMID: "v",
		Attach: definition.Attach{
			Nodes:     definition.Selector{IDs: []string{"*"}, Clusters: []string{"c"}, Labels: map[string]string{"a": "b"}},
			Listeners: []definition.ListenerMatch{{Direction: definition.Inbound, Names: []string{"web"}, Ports: []uint32{80}}},
		},
		Order: 7, Place: definition.Place{At: definition.First, Before: "b"}, OnFailure: definition.Open, Env: map[string]string{"A": "b"}, HostEnv: []string{"C"},
		Allow: []string{}, Verify: definition.VerifyRun,
		Wasm: &wasmv3.Wasm{Config: &pluginv3.PluginConfig{
			Name: "x", Vm: &pluginv3.PluginConfig_VmConfig{VmConfig: &pluginv3.VmConfig{VmId: "v"}},
		}},
	}
	for i := range reflect.TypeFor[definition.Filter]().NumField() {
		if reflect.ValueOf(*want).Field(i).IsZero() {
			t.Errorf("%s is not tested here", reflect.TypeFor[definition.Filter]().Field(i).Name)
		}
	}
	l := &loop{Resolver: New(Options{State: filepath.Join(t.TempDir(), "s"), Store: newStore(t)}), filters: map[string]*entry{}}
	if err := newSaver(l.State, l.Logger).write(worth{filters: []line{good{definition: want}}}); err != nil {
		t.Fatal(err)
	}
	l.restore()
	got := l.filters["hello"]
	if got == nil {
		t.Fatal("nothing restored")
	}
	if diff := cmp.Diff(want, got.good.definition, protocmp.Transform()); diff != "" {
		t.Error(diff)
	}
}
