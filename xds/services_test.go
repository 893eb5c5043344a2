package xds

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/resource"
)

func serviceMetadata(t *testing.T, services map[string]any) *structpb.Struct {
	t.Helper()
	meta, err := structpb.NewStruct(map[string]any{"wasmxds": map[string]any{"services": services}})
	if err != nil {
		t.Fatal(err)
	}
	return meta
}

// TestServicesOfMetadata: what an Envoy says that it has started with, within bounds.
func TestServicesOfMetadata(t *testing.T) {
	one := func(version, module any) map[string]any { return map[string]any{"version": version, "module": module} }
	many := map[string]any{}
	for i := range 5 * maxServices {
		many[fmt.Sprint("s", i)] = one("1", "a")
	}
	for name, c := range map[string]struct {
		meta *structpb.Struct
		want int
	}{
		"none":          {&structpb.Struct{}, 0},
		"one":           {serviceMetadata(t, map[string]any{"a": one("1", "x")}), 1},
		"no module":     {serviceMetadata(t, map[string]any{"a": one("1", nil)}), 1},
		"no version":    {serviceMetadata(t, map[string]any{"a": one("", "x"), "b": one(1, "x"), "c": "1"}), 0},
		"too long":      {serviceMetadata(t, map[string]any{"a": one(strings.Repeat("1", 254), "x"), strings.Repeat("b", 254): one("1", "x")}), 0},
		"too many":      {serviceMetadata(t, many), maxServices},
		"not a mapping": {&structpb.Struct{Fields: map[string]*structpb.Value{"wasmxds": structpb.NewStringValue("x")}}, 0},
	} {
		if got := services(c.meta); len(got) != c.want || cap(got) > 2*maxServices {
			t.Errorf("%s: %v, of %d", name, got, cap(got))
		}
	}
}

// TestServices: an Envoy runs a service that it has started with in the version that is
// wanted; any other difference takes a restart, and the reason says which.
func TestServices(t *testing.T) {
	wanted := []*resource.Service{
		{Name: "a", Version: "1"}, {Name: "b", Version: "2"}, {Name: "c", Version: "3"}, {Name: "d", Missing: "connection refused"},
	}
	c := &client{started: []startedWith{{"a", "1", "x"}, {"b", "1", "y"}, {"e", "5", "z"}}}
	c.wants.chosen = &resource.Snapshot{Services: wanted}
	var got []string
	for _, f := range c.services() {
		got = append(got, fmt.Sprintf("%s %s %q %q %s", f.Name, f.State, f.Running, f.Wanted, f.Reason))
	}
	want := []string{
		`a running "1" "1" `,
		`b waiting "1" "2" takes a restart: this Envoy started with 1, and bootstrap --wasm-service b prints its bootstrap with what is wanted`,
		`c waiting "" "3" takes a restart: this Envoy's bootstrap lacks the service, and bootstrap --wasm-service c prints one with it`,
		`d waiting "" "" connection refused`,
		`e waiting "5" "" takes a restart: there is no such service for this Envoy any more`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	s := &Server{clients: map[*client]struct{}{c: {}, {started: []startedWith{{"a", "1", "x"}}}: {}}}
	if sums := s.ServiceModules(); !slices.Equal(sums, []string{"x", "y", "z"}) {
		t.Errorf("their modules are %q", sums)
	}
}

// TestServiceModulesOfLiars: what one Envoy names alone comes behind what several do, and
// behind the first that any other names.
func TestServiceModulesOfLiars(t *testing.T) {
	s := &Server{clients: map[*client]struct{}{}}
	for range 2 {
		s.clients[&client{started: []startedWith{{"a", "1", "many"}, {"again", "1", "many"}}}] = struct{}{}
	}
	liar := &client{}
	for i := range maxServices {
		liar.started = append(liar.started, startedWith{fmt.Sprint(i), "1", fmt.Sprintf("%02d", i)})
	}
	s.clients[liar] = struct{}{}
	s.clients[&client{started: []startedWith{{"c", "1", "single"}, {"no", "1", ""}}}] = struct{}{}
	if sums := s.ServiceModules(); len(sums) != 2+maxServices || !slices.Equal(sums[:4], []string{"many", "00", "single", "01"}) {
		t.Errorf("the modules are %q", sums)
	}
}
