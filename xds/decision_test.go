package xds

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/state"
)

// versionsOf returns a set of filters in versions: "a1 b2".
func versionsOf(text string) *module.Set {
	set := new(module.Set)
	for word := range strings.FieldsSeq(text) {
		config, err := anypb.New(wrapperspb.String(word))
		if err != nil {
			panic(err)
		}
		d := &definition.Filter{Name: word[:1], Config: config, OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
		set.Filters = append(set.Filters, &module.Filter{Definition: d, Wanted: d, State: module.Good,
			Module: module.Info{SHA256: strings.Repeat("ab", 32), Size: 1, ABI: "0.2.1"}})
	}
	return set
}

// decided is a proved, with what was published.
type decided struct {
	*proved
	catalog *resource.Catalog
	names   map[string]string // versions, as "a1"
}

func (d *decided) publish(t *testing.T, base string, choices map[resource.Choice]string) {
	t.Helper()
	sets := resource.Sets{Base: versionsOf(base), Choices: map[resource.Choice]*module.Set{}}
	for choice, text := range choices {
		sets.Choices[choice] = versionsOf(text)
	}
	catalog, problems := resource.Compile(d.catalog, sets, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	if len(problems.Base) > 0 || len(problems.Choices) > 0 {
		t.Fatal(problems)
	}
	d.catalog = catalog
	d.name(base, "")
	for choice, text := range choices {
		d.name(text, choice)
	}
	d.published(Publication{Catalog: catalog, Choose: func(definition.Node) resource.Choice { return "" }})
}

// name records which versions resulted from the words of a set, in order.
func (d *decided) name(text string, choice resource.Choice) {
	for i, word := range strings.Fields(text) {
		d.names[d.chosen(choice).Filters[i].Version] = word
	}
}

func (d *decided) chosen(choice resource.Choice) *resource.Snapshot {
	return d.catalog.Snapshot(definition.Node{ID: "edge"}, choice)
}

// version returns the version with a name.
func (d *decided) version(t *testing.T, name string) string {
	t.Helper()
	for version, n := range d.names {
		if n == name {
			return version
		}
	}
	t.Fatalf("no version %s in %v", name, d.names)
	return ""
}

// ran records that the filters of a choice have run.
func (d *decided) ran(choice resource.Choice) { d.add(d.chosen(choice).Filters) }

// in returns the versions in a snapshot.
func (d *decided) in(s *resource.Snapshot) string {
	var names []string
	for _, f := range s.Filters {
		names = append(names, d.names[f.Version])
	}
	return strings.Join(names, " ")
}

// TestDecision checks, in order, the rules that decide what an Envoy gets.
func TestDecision(t *testing.T) {
	for _, test := range []struct {
		name string
		does func(t *testing.T, p *decided)
		is   func(p *decided, version func(string) string) decision
		want string
	}{
		{"the base", func(t *testing.T, p *decided) { p.publish(t, "a1 b1", nil) },
			func(p *decided, v func(string) string) decision { return decision{}.published("", p.chosen("")) }, "a1 b1"},
		{"its choice", func(t *testing.T, p *decided) { p.publish(t, "a1 b1", map[resource.Choice]string{"x": "a2 b1"}) },
			func(p *decided, v func(string) string) decision { return decision{}.published("x", p.chosen("x")) }, "a2 b1"},
		{"it refuses the newest", twice("a1 b1", "a2 b1"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).refused([]string{v("a2")})
			}, "a1 b1"},
		{"it refuses the newest, and runs what it has in place of it", twice("a1 b1", "a2 b1"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).refused([]string{v("a2")}).inPlace()
			}, "a2 b1"},
		{"it refuses all", twice("a1 b1", "a2 b1"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).refused([]string{v("a2")}).refused([]string{v("a1")})
			}, "a2 b1"},
		{"the newest crashes on it", twice("a1 b1", "a2 b1"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).crashed(v("a2")).inPlace()
			}, "a1 b1"},
		{"the newest crashes, and it refuses the one before", thrice("a1 b1", "a2 b1", "a3 b1"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).crashed(v("a3")).refused([]string{v("a2")}).inPlace()
			}, "a1 b1"},
		{"one crashes, another is refused", twice("a1 b1", "a2 b2"),
			func(p *decided, v func(string) string) decision {
				return decision{}.published("", p.chosen("")).crashed(v("a2")).refused([]string{v("b2")})
			}, "a1 b1"},
		{"the one that crashed is no longer chosen, and is again", twice("a1 b1", "a2 b1"),
			func(p *decided, v func(string) string) decision {
				newest := p.chosen("")
				return decision{}.published("", newest).crashed(v("a2")).published("", newest.With(nil)).published("", newest)
			}, "a2 b1"},
		{"the one that crashed is chosen still, beside another change", thrice("a1 b1", "a2 b1", "a2 b2"),
			func(p *decided, v func(string) string) decision {
				before := p.chosen("").With([]*resource.Filter{p.chosen("").Filters[0], p.filters["b"][0].Filter})
				return decision{}.published("", before).crashed(v("a2")).refused([]string{v("b1")}).published("", p.chosen(""))
			}, "a1 b2"},
		{"what runs in a wave is nothing for others", func(t *testing.T, p *decided) {
			p.publish(t, "a1 b1", map[resource.Choice]string{"x": "a2 b1"})
			p.ran("x")
		}, func(p *decided, v func(string) string) decision {
			return decision{}.published("", p.chosen("")).refused([]string{v("a1")})
		}, "a1 b1"},
		{"nor when it is stopped", func(t *testing.T, p *decided) {
			p.publish(t, "a1 b1", map[resource.Choice]string{"x": "a2 b1"})
			p.ran("x")
			p.publish(t, "a1 b1", nil)
		}, func(p *decided, v func(string) string) decision {
			return decision{}.published("", p.chosen("")).refused([]string{v("a1")})
		}, "a1 b1"},
		{"what ran in a wave and has joined is something to fall back on", func(t *testing.T, p *decided) {
			p.publish(t, "a1 b1", map[resource.Choice]string{"x": "a2 b1"})
			p.ran("x")
			p.publish(t, "a2 b1", nil)
			p.publish(t, "a2 b1", map[resource.Choice]string{"y": "a3 b1"})
		}, func(p *decided, v func(string) string) decision {
			return decision{}.published("y", p.chosen("y")).crashed(v("a3"))
		}, "a2 b1"},
		{"the base is something to fall back on in a wave", func(t *testing.T, p *decided) {
			p.publish(t, "a1 b1", map[resource.Choice]string{"x": "a2 b1"})
			p.ran("")
			p.ran("x")
		}, func(p *decided, v func(string) string) decision {
			return decision{}.published("x", p.chosen("x")).crashed(v("a2"))
		}, "a1 b1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := &decided{proved: newProved(t.Context(), state.View{}, resource.Options{}.Restore), names: map[string]string{}}
			test.does(t, p)
			d := test.is(p, func(name string) string { return p.version(t, name) })
			got := d.snapshot(p.proved)
			if p.in(got) != test.want {
				t.Errorf("it gets %s, want %s", p.in(got), test.want)
			}
			if again := d.snapshot(p.proved); again != got {
				t.Error("who is in the same situation gets another Snapshot")
			}
		})
	}
}

// twice publishes two sets, of which the first has run.
func twice(first, second string) func(t *testing.T, p *decided) {
	return func(t *testing.T, p *decided) {
		p.publish(t, first, nil)
		p.ran("")
		p.publish(t, second, nil)
	}
}

// thrice publishes three sets, of which the first two have run.
func thrice(first, second, third string) func(t *testing.T, p *decided) {
	return func(t *testing.T, p *decided) {
		twice(first, second)(t, p)
		p.ran("")
		p.publish(t, third, nil)
	}
}

// TestTrialIsKept checks that the next server knows which version was on trial when this
// one ended.
func TestTrialIsKept(t *testing.T) {
	p := &decided{proved: newProved(t.Context(), state.View{}, resource.Options{}.Restore), names: map[string]string{}}
	p.publish(t, "a1", map[resource.Choice]string{"x": "a2"})
	p.ran("")
	p.ran("x")
	kept := func() string {
		b, err := json.Marshal(versions(p.filters["a"]))
		if err != nil {
			t.Fatal(err)
		}
		var list []keptVersion
		if err := json.Unmarshal(b, &list); err != nil {
			t.Fatal(err)
		}
		var words []string
		for _, k := range list {
			words = append(words, fmt.Sprintf("%s:%t", p.names[k.Version], k.Trial))
		}
		slices.Sort(words)
		return strings.Join(words, " ")
	}
	if got, want := kept(), "a1:false a2:true"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	p.publish(t, "a2", nil)
	if got, want := kept(), "a1:false a2:false"; got != want {
		t.Errorf("when it has joined: kept %s, want %s", got, want)
	}
}
