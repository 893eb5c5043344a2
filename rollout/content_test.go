package rollout

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/module"
)

const everything = `
kind: WasmFilter
name: hello
module: {url: hello.wasm, sha256: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}
config: {greeting: hello}
attach: {listeners: [web], nodes: {labels: {app: cart}}}
order: 5
onFailure: open
env: {A: b}
allow: [proxy_log]
---
kind: Listener
name: web
address: 0.0.0.0:80
nodes: {clusters: [edge]}
routes: [{prefix: /, upstreams: [{address: 'a:1', weight: 3}, {address: 'b:1', weight: 1}], timeout: 3s}]
---
'@type': type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
name: raw
typed_config:
  '@type': type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm
  config: {name: raw, vm_config: {vm_id: a, runtime: envoy.wasm.runtime.v8, code: {local: {filename: raw.wasm}}}}
---
'@type': type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig
name: cors
typed_config: {'@type': type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors}
---
'@type': type.googleapis.com/envoy.config.cluster.v3.Cluster
name: x
connect_timeout: 3s
---
'@type': type.googleapis.com/envoy.config.listener.v3.Listener
name: plain
address: {socket_address: {address: 0.0.0.0, port_value: 81}}
`

// read returns all definitions of a text, with modules.
func read(t testing.TB, text string) *module.Set {
	t.Helper()
	r := kinds.Parser().Read("a.yaml", []byte(text))
	if r.File == nil {
		t.Fatal(r.Problems)
	}
	set := &module.Set{Listeners: r.File.Listeners, Resources: r.File.Resources}
	for _, f := range r.File.Filters {
		set.Filters = append(set.Filters, &module.Filter{Definition: f, Wanted: f, State: module.Good, Module: module.Info{SHA256: strings.Repeat("a", 64), ABI: "0.2.1", Size: 7}})
	}
	return set
}

// TestContents checks that everything that can be written in a directory is restored
// unchanged.
func TestContents(t *testing.T) {
	s, err := setOf(nil, read(t, everything))
	if err != nil {
		t.Fatal(err)
	}
	if len(s.items) != 6 {
		t.Fatalf("%d items", len(s.items))
	}
	for key, i := range s.items {
		c, err := contentOf(i.Value)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var again content
		if err := json.Unmarshal(b, &again); err != nil {
			t.Fatal(err)
		}
		value, err := again.value()
		if err != nil {
			t.Fatalf("%v: %v", key, err)
		}
		back, err := itemOf(value)
		if err != nil {
			t.Fatal(err)
		}
		if back.Key != key || back.Hash != i.Hash || back.selector != i.selector || back.Ready != i.Ready {
			t.Errorf("%v came back as %+v, was %+v", key, back, i)
		}
		if shown(back) != shown(i) || strings.HasPrefix(shown(i), "#") {
			t.Errorf("%v came back as\n%s, was\n%s", key, shown(back), shown(i))
		}
		if was, is := i.Value.(*definition.Resource); is && !proto.Equal(was.Message, value.(*definition.Resource).Message) {
			t.Errorf("%v came back as %v", key, value)
		}
	}
}

// TestHash checks which differences make another definition, and which don't.
func TestHash(t *testing.T) {
	of := func(set *module.Set, name string) string {
		s, err := setOf(nil, set)
		if err != nil {
			t.Fatal(err)
		}
		return s.items[Key{FilterKind, name}].Hash
	}
	const filter = "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm}\n"
	was := of(read(t, filter), "hello")
	for _, c := range []struct {
		what, text string
		same       bool
	}{
		{"further down", "\n\n# comment\n" + filter, true},
		{"from elsewhere", "kind: WasmFilter\nname: hello\nmodule: {url: 'https://example.com/hello.wasm'}\n", true},
		{"pinned", "kind: WasmFilter\nname: hello\nmodule: {url: hello.wasm, sha256: " + strings.Repeat("a", 64) + "}\n", true},
		{"tried less", filter + "verify: abi\n", true},
		{"configured", filter + "config: {a: b}\n", false},
		{"elsewhere in a chain", filter + "order: 3\n", false},
		{"with fewer host calls", filter + "allow: [proxy_log]\n", false},
		{"fails open", filter + "onFailure: open\n", false},
		{"for others", filter + "attach: {nodes: {clusters: [edge]}}\n", false},
		{"fetched by Envoys", "kind: WasmFilter\nname: hello\nmodule: {url: 'https://example.com/hello.wasm', fetch: direct, sha256: " + strings.Repeat("a", 64) + "}\n", false},
	} {
		if got := of(read(t, c.text), "hello"); (got == was) != c.same {
			t.Errorf("%s: the same %v, want %v", c.what, got == was, c.same)
		}
	}
	secret := read(t, filter)
	secret.Filters[0].Definition.ConfigSecret = &definition.SecretKey{Name: "keys", Key: "json"}
	if of(secret, "hello") == was {
		t.Error("a configuration that has become secret is the same, so what is stored would not say that it is")
	}
	other := read(t, filter)
	other.Filters[0].Module.SHA256 = strings.Repeat("b", 64)
	if of(other, "hello") == was {
		t.Error("another module is the same")
	}
}

// wrote returns what a machine with an open change has written.
func wrote(t testing.TB) map[string][]byte {
	t.Helper()
	written := map[string][]byte{}
	m, _ := New(Options{}, nil)
	policy := &definition.Rollout{Name: "p", Definitions: []string{"*"}, Waves: []definition.Wave{{Count: 1}, {Share: 1}}, Bake: time.Minute}
	step := func(e Event) {
		for r := m.Step(time.Unix(0, 0), e); r.Save != nil; r = m.Step(time.Unix(0, 0), Saved{r.Save.Seq}) {
			for key, value := range r.Save.Values {
				if value == nil {
					delete(written, key)
				} else {
					written[key] = value
				}
			}
		}
	}
	set := read(t, everything)
	set.Rollouts = []*definition.Rollout{policy}
	step(Wanted{set})
	step(Connected{definition.Node{ID: "e1", Cluster: "edge"}})
	next := read(t, strings.Replace(everything, "timeout: 3s", "timeout: 4s", 1))
	next.Rollouts = set.Rollouts
	step(Wanted{next})
	if c := m.open[0]; c.Wave != 1 || len(m.open) != 1 {
		t.Fatalf("%+v", c)
	}
	return written
}

// TestDamaged checks that damaged state isn't used, and breaks nothing.
func TestDamaged(t *testing.T) {
	written := wrote(t)
	for _, key := range slices.Sorted(maps.Keys(written)) {
		for _, damage := range [][]byte{nil, []byte("{"), []byte(`{"kind":"filter"}`), []byte("null")} {
			if damage == nil && strings.HasPrefix(key, baseKeys) {
				continue // it belongs to no base then
			}
			broken := maps.Clone(written)
			broken[key] = damage
			if damage == nil {
				delete(broken, key)
			}
			m, errs := New(Options{Broken: func(err error) { t.Errorf("%s is %q: %v", key, damage, err) }}, broken)
			set := read(t, strings.Replace(everything, "timeout: 3s", "timeout: 4s", 1))
			set.Rollouts = []*definition.Rollout{{Name: "p", Definitions: []string{"*"}, Waves: []definition.Wave{{Count: 1}, {Share: 1}}, Bake: time.Minute}}
			r := m.Step(time.Unix(1, 0), Wanted{set})
			if r.Plan == nil {
				t.Errorf("%s is %q: no plan", key, damage)
			}
			if damage != nil && len(errs) == 0 && key != begunKey {
				t.Errorf("%s is %q, and nothing is told", key, damage)
			}
			for _, f := range everythingKeys {
				if m.base[f] == nil {
					t.Errorf("%s is %q: the base is without %v", key, damage, f)
				}
			}
		}
	}
}

var everythingKeys = []Key{{FilterKind, "hello"}, {FilterKind, "raw"}, {FilterKind, "cors"}, {ListenerKind, "web"}, {ListenerKind, "plain"}}

// TestAnotherBuild checks that a build that computes other hashes continues from the same
// state.
func TestAnotherBuild(t *testing.T) {
	written := map[string][]byte{}
	for key, value := range wrote(t) {
		var pairs []string
		for k := range wrote(t) {
			if hash, is := strings.CutPrefix(k, contentKey); is {
				pairs = append(pairs, hash, "0123"+hash[4:])
			}
		}
		renamed := strings.NewReplacer(pairs...) // each hash gets another prefix
		written[renamed.Replace(key)] = []byte(renamed.Replace(string(value)))
	}
	m, errs := New(Options{Broken: func(err error) { t.Error(err) }}, written)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	set := read(t, strings.Replace(everything, "timeout: 3s", "timeout: 4s", 1))
	r := m.Step(time.Unix(1, 0), Wanted{set})
	if len(m.open) != 1 || m.open[0].Wave != 1 || len(r.Told) > 0 {
		t.Errorf("%d changes are open; told %+v", len(m.open), r.Told)
	}
	for key, value := range r.Save.Values {
		if value == nil {
			delete(written, key)
		} else {
			written[key] = value
		}
	}
	for key := range written {
		if strings.HasPrefix(key, contentKey+"0123") {
			t.Errorf("%s is still there", key)
		}
	}
	if _, errs := New(Options{}, written); len(errs) > 0 {
		t.Errorf("after that: %v", errs)
	}
}

func shown(i *Item) string {
	s, _ := text(i, filterIn(i))
	return s
}
