package swap_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
)

// world is what is wanted, in a few words a line:
//
//	filter NAME VERSION [module=M] [open] [missing]
//	listener NAME [VERSION] [FILTER...]
//	cluster NAME
//
// A filter's module is named by its name and version where none is given.
type world struct {
	catalog *resource.Catalog
	labels  map[string]string // resource version → what the script calls it
	named   map[string]string // filter and label → version
	modules map[string]string // sha256 → the module's name
}

// definitions reads the words and compiles them, after what was there before.
func (w *world) define(t testing.TB, text string) *resource.Snapshot {
	t.Helper()
	set := &module.Set{}
	in := map[string][]string{} // filter → its listeners
	names := map[string]string{}
	for line := range strings.Lines(text) {
		word := strings.Fields(line)
		if len(word) == 0 {
			continue
		}
		switch word[0] {
		case "filter":
			f := w.filter(word[1], word[2], word[3:])
			set.Filters = append(set.Filters, f)
			names[word[1]] = word[2]
		case "listener":
			l := &definition.Listener{Name: word[1], Address: "127.0.0.1:0", Direction: definition.Inbound,
				Routes: []definition.Route{{Prefix: "/", Upstreams: []definition.Upstream{{Address: "127.0.0.1:9000", Weight: 1}}}}}
			for _, f := range word[2:] {
				if v, ok := strings.CutPrefix(f, "timeout="); ok {
					l.Routes[0].Timeout = v
				} else {
					in[f] = append(in[f], word[1])
				}
			}
			set.Listeners = append(set.Listeners, l)
		default:
			t.Fatalf("unknown word %q", word[0])
		}
	}
	for _, f := range set.Filters {
		f.Definition.Attach.Listeners = []definition.ListenerMatch{{Names: append(in[f.Definition.Name], "nothing")}}
	}
	slices.SortFunc(set.Filters, func(a, b *module.Filter) int { return strings.Compare(a.Definition.Name, b.Definition.Name) })
	slices.SortFunc(set.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	var problems []definition.Problem
	w.catalog, problems = resource.Compile(w.catalog, set, resource.Options{ModulesURL: "http://127.0.0.1:18001"})
	for _, p := range problems {
		t.Fatal(p)
	}
	for name, v := range names {
		if f := w.catalog.Filter(name); f != nil && f.Missing == "" {
			w.labels[f.Version] = v
			w.named[name+" "+v] = f.Version
		}
	}
	return w.catalog.Snapshot(definition.Node{ID: "envoy"})
}

func (w *world) filter(name, version string, more []string) *module.Filter {
	d := &definition.Filter{Name: name, Config: text(version), OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror}}
	mod := name + "-" + version
	missing := false
	for _, m := range more {
		switch v, is := strings.CutPrefix(m, "module="); {
		case is:
			mod = v
		case m == "open":
			d.OnFailure = definition.Open
		case m == "missing":
			missing = true
		}
	}
	f := &module.Filter{Definition: d, Wanted: d, State: module.Good}
	if missing {
		f.State, f.Reason = module.Failed, "its origin answers 404"
		return f
	}
	sum := sha256.Sum256([]byte(mod))
	f.Module = module.Info{SHA256: hex.EncodeToString(sum[:]), Size: 1000, ABI: "0.2.1"}
	w.modules[f.Module.SHA256] = mod
	return f
}

func text(s string) *anypb.Any {
	a, err := anypb.New(wrapperspb.String(s))
	if err != nil {
		panic(err)
	}
	return a
}

func newWorld() world {
	return world{labels: map[string]string{}, named: map[string]string{}, modules: map[string]string{}}
}

// label names a resource's version as the script does.
func (w *world) label(version string) string {
	base, attempt, again := strings.Cut(version, ".")
	l, ok := w.labels[base]
	if !ok {
		return ""
	}
	if again {
		l += fmt.Sprintf(" (attempt %s)", attempt)
	}
	return "=" + l
}
