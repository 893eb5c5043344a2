package resource

import (
	"os"
	"testing"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/module"
)

// FuzzListener checks that each listener that can be written is valid for
// Envoy, and that clusters can be rebuilt from their names.
func FuzzListener(f *testing.F) {
	for _, name := range []string{"testdata/routes.yaml", "testdata/web.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, _ := kinds.Parser().Parse("/defs/fuzz.yaml", data)
		if file == nil {
			return
		}
		c, problems := Compile(nil, Sets{Base: &module.Set{Listeners: file.Listeners}}, opts)
		names := map[string]int{}
		for _, l := range file.Listeners {
			names[l.Name]++
		}
		for _, p := range problems.Base {
			if !p.Warning && len(names) == len(file.Listeners) {
				t.Fatalf("%v\n%s", p, data)
			}
		}
		s := c.Snapshot(definition.Node{}, "")
		for _, r := range s.Clusters {
			if again := s.Upstream(r.Name); again != nil && (again.Version != r.Version || string(again.Value) != string(r.Value)) {
				t.Errorf("the cluster %q is another when it is made of its name", r.Name)
			}
		}
		for _, l := range file.Listeners {
			for _, r := range l.Routes {
				for _, u := range r.Upstreams {
					if s.Upstream(u.ClusterName()) == nil {
						t.Errorf("no cluster can be made of the name %q", u.ClusterName())
					}
				}
			}
		}
	})
}
