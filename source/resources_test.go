package source

import (
	"fmt"
	"strings"
	"testing"

	"wasmxds/definition"
)

// TestClusterOfSeveralObjects: two EnvoyFilters add one cluster. It stays until
// the last of them is gone, also in a file that has lost its listener.
func TestClusterOfSeveralObjects(t *testing.T) {
	adds := func(object, timeout string) string {
		return fmt.Sprintf(`
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: %s}
spec:
  configPatches:
  - applyTo: CLUSTER
    patch: {operation: ADD, value: {name: limiter, type: STATIC, connect_timeout: %s, load_assignment: {cluster_name: limiter}}}
`, object, timeout)
	}
	s := newStill(t)
	for i, step := range []struct {
		files    map[string]string
		want     string // the clusters
		problems string // a part of each
	}{
		{files: map[string]string{"a.yaml": adds("a", "1s"), "b.yaml": adds("b", "1s")}, want: "limiter of a.yaml"},
		{files: map[string]string{"b.yaml": adds("b", "2s")}, want: "limiter of a.yaml", problems: `Cluster "limiter" of EnvoyFilter b differs from that of EnvoyFilter a in /defs/a.yaml:8`},
		{files: map[string]string{"a.yaml": adds("a", "2s")}, want: "limiter of a.yaml"},
		{files: map[string]string{"web.yaml": listener("web"), "b.yaml": adds("b", "2s") + "---\n" + attached("b", "", "web")}, want: "limiter of a.yaml"},
		{files: map[string]string{"web.yaml": ""}, want: "limiter of a.yaml", problems: `there is no listener "web"`},
		{files: map[string]string{"a.yaml": ""}, want: "limiter of b.yaml", problems: `there is no listener "web"`},
		{files: map[string]string{"b.yaml": ""}},
	} {
		s.write(step.files)
		u := s.look()
		var have []string
		for _, r := range u.Set.Resources {
			have = append(have, r.Name+" of "+strings.TrimPrefix(r.Pos.File, "/defs/"))
		}
		if got := strings.Join(have, ", "); got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
		if got := fmt.Sprint(u.Problems); !strings.Contains(got, step.problems) || step.problems == "" && len(errorsIn(u.Problems)) > 0 {
			t.Errorf("step %d: %s, want %q", i, got, step.problems)
		}
	}
}

func errorsIn(problems []definition.Problem) (errors []definition.Problem) {
	for _, p := range problems {
		if !p.Warning {
			errors = append(errors, p)
		}
	}
	return errors
}
