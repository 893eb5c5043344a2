package definition

import (
	"path/filepath"
	"testing"
)

func TestSelectorMatches(t *testing.T) {
	node := Node{ID: "edge-1", Cluster: "edge", Labels: map[string]string{"app": "shop", "tier": "web"}}
	for _, c := range []struct {
		name     string
		selector Selector
		want     bool
	}{
		{"nothing asked", Selector{}, true},
		{"id", Selector{IDs: []string{"edge-1"}}, true},
		{"glob", Selector{IDs: []string{"core-*", "edge-?"}}, true},
		{"other glob", Selector{IDs: []string{"core-*"}}, false},
		{"cluster", Selector{Clusters: []string{"e*"}}, true},
		{"other cluster", Selector{Clusters: []string{"core"}}, false},
		{"label", Selector{Labels: map[string]string{"app": "shop"}}, true},
		{"both labels", Selector{Labels: map[string]string{"app": "shop", "tier": "web"}}, true},
		{"label with another value", Selector{Labels: map[string]string{"app": "bank"}}, false},
		{"no such label", Selector{Labels: map[string]string{"zone": ""}}, false},
		{"all of it", Selector{IDs: []string{"edge-*"}, Clusters: []string{"edge"}, Labels: map[string]string{"app": "shop"}}, true},
		{"all but one", Selector{IDs: []string{"edge-*"}, Clusters: []string{"core"}, Labels: map[string]string{"app": "shop"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := c.selector.Matches(node); got != c.want {
				t.Errorf("%+v: %v", c.selector, got)
			}
		})
	}
}

func TestAttachMatches(t *testing.T) {
	web := Target{Name: "web", Direction: Inbound, Port: 8080}
	for _, c := range []struct {
		name  string
		match []ListenerMatch
		want  bool
	}{
		{"nothing", nil, false},
		{"anything", []ListenerMatch{{}}, true},
		{"any direction", []ListenerMatch{{Direction: Any}}, true},
		{"direction", []ListenerMatch{{Direction: Inbound}}, true},
		{"other direction", []ListenerMatch{{Direction: Outbound}}, false},
		{"name", []ListenerMatch{{Names: []string{"api", "web"}}}, true},
		{"other name", []ListenerMatch{{Names: []string{"api"}}}, false},
		{"port", []ListenerMatch{{Direction: Inbound, Ports: []uint32{8080}}}, true},
		{"name but other port", []ListenerMatch{{Names: []string{"web"}, Ports: []uint32{80}}}, false},
		{"second entry", []ListenerMatch{{Direction: Gateway}, {Names: []string{"web"}}}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Attach{Listeners: c.match}).Matches(web); got != c.want {
				t.Errorf("%+v: %v", c.match, got)
			}
		})
	}
}

func TestModulePath(t *testing.T) {
	for _, c := range []struct{ file, url, want, path string }{
		{"defs/a.yaml", "../filters/a.wasm", "file:filters/a.wasm", "filters/a.wasm"},
		{"a.yaml", "../a.wasm", "file:../a.wasm", "../a.wasm"},
		{"a.yaml", "a b%c#d?.wasm", "file:a%20b%25c%23d%3F.wasm", "a b%c#d?.wasm"},
		{"/srv/defs/a.yaml", "../x/a.wasm", "file:///srv/x/a.wasm", "/srv/x/a.wasm"},
		{"/srv/defs/a.yaml", "/opt/a:b.wasm", "file:///opt/a:b.wasm", "/opt/a:b.wasm"},
		{"a.yaml", "a:b.wasm", "file:a:b.wasm", "a:b.wasm"},
		{"a.yaml", "file:///opt/a%20b.wasm", "file:///opt/a%20b.wasm", "/opt/a b.wasm"},
		{"a.yaml", "https://example.com/a.wasm", "https://example.com/a.wasm", ""},
		{"a.yaml", "oci://registry.example.com/a:v1", "oci://registry.example.com/a:v1", ""},
	} {
		t.Run(c.url, func(t *testing.T) {
			file, problems := Parser{}.Parse(c.file, []byte("kind: WasmFilter\nname: a\nmodule:\n  url: '"+c.url+"'\n"))
			if file == nil {
				t.Fatal(problems)
			}
			m := file.Filters[0].Module
			if m.URL != c.want {
				t.Errorf("URL %s, want %s", m.URL, c.want)
			}
			path, ok := m.Path()
			if filepath.ToSlash(path) != c.path || ok != (c.path != "") {
				t.Errorf("path %q, %v; want %q", path, ok, c.path)
			}
		})
	}
}
