package resource

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/module"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden compiles each testdata/*.yaml for the nodes in its comments, and
// compares the result with the file beside it.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			set, nodes := read(t, file)
			o := opts
			o.Spares, o.Signals = sparesOf(t, file), noteIn(t, file, "signals")
			c, problems := Compile(nil, Sets{Base: set}, o)
			var b bytes.Buffer
			for _, p := range problems.Base {
				fmt.Fprintf(&b, "# problem: %v\n", p)
			}
			for _, n := range nodes {
				s := c.Snapshot(n, "")
				valid(t, s)
				text, err := Render(s, YAML)
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, "---\n# %s\n%s%s", n.ID, slotNames(s), text)
			}
			same(t, strings.TrimSuffix(file, ".yaml")+".golden", b.Bytes())
		})
	}
}

// slotNames returns the slots with names given by users, and the contents of
// the listeners' own slots: one line for each distinct list of HTTP filters,
// with other filters as "|" and spares as "-".
func slotNames(s *Snapshot) string {
	var b strings.Builder
	for _, l := range s.Listeners {
		fmt.Fprintf(&b, "# %s %s\n", l.Name, strings.TrimPrefix(l.Version, l.Base))
		for _, slot := range l.Slots {
			if _, _, own := SlotOf(slot); !own {
				fmt.Fprintf(&b, "#   named slot: %s\n", slot)
			}
		}
		layout := l.In(l.Version)
		holds := l.Spread(layout)
		for i, slots := range layout.Chains {
			gaps, network := l.compiled.all()[i].gaps(), i >= len(l.compiled.lists)
			switch {
			case network && len(slots) == 0:
				continue
			case network:
				fmt.Fprintf(&b, "#   network chain:")
			default:
				fmt.Fprintf(&b, "#   chain:")
			}
			for gap := range gaps {
				for _, slot := range slots {
					if slot.Gap == gap {
						fmt.Fprintf(&b, " %s", cmp.Or(holds[slot.Name], "-"))
					}
				}
				b.WriteString(" |")
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// read parses a file of definitions. A module exists unless it is called
// "missing…"; its hash is derived from its URL if none is pinned.
func read(t *testing.T, file string) (*module.Set, []definition.Node) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, problems := kinds.Parser().Parse("/defs/"+filepath.Base(file), data)
	merged, more := definition.Merge([]*definition.File{parsed})
	for _, p := range append(problems, more...) {
		if !p.Warning {
			t.Fatal(p)
		}
	}
	set := &module.Set{Listeners: merged.Listeners, Resources: merged.Resources}
	for _, d := range merged.Filters {
		f := &module.Filter{Definition: d, Wanted: d, State: module.Good}
		switch sum := sha256.Sum256([]byte(d.Module.URL)); {
		case strings.Contains(d.Module.URL, "missing"):
			f.State, f.Reason = module.Failed, "no such file"
		case d.Module.SHA256 != "":
			f.Module.SHA256 = d.Module.SHA256
		default:
			f.Module.SHA256 = hex.EncodeToString(sum[:])
		}
		set.Filters = append(set.Filters, f)
	}
	return set, nodesOf(string(data))
}

// sparesOf parses a line like "# spares: 2,1"; by default, there are none.
func sparesOf(t *testing.T, file string) Spares {
	t.Helper()
	text := noteIn(t, file, "spares")
	if text == "" {
		return Spares{}
	}
	spares, err := ParseSpares(text)
	if err != nil {
		t.Fatal(err)
	}
	return spares
}

// noteIn returns the text of a line like "# NAME: text".
func noteIn(t *testing.T, file, name string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if text, ok := strings.CutPrefix(line, "# "+name+": "); ok {
			return strings.TrimSpace(text)
		}
	}
	return ""
}

// nodesOf parses lines like "# node: id=edge-1 cluster=edge app=cart".
func nodesOf(text string) []definition.Node {
	var nodes []definition.Node
	for line := range strings.Lines(text) {
		fields, ok := strings.CutPrefix(line, "# node: ")
		if !ok {
			continue
		}
		n := definition.Node{Labels: make(map[string]string)}
		for _, f := range strings.Fields(fields) {
			switch k, v, _ := strings.Cut(f, "="); k {
			case "id":
				n.ID = v
			case "cluster":
				n.Cluster = v
			default:
				n.Labels[k] = v
			}
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func same(t *testing.T, golden string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", golden, diff)
	}
}

// resources returns everything that may be sent from s.
func resources(s *Snapshot) []*Resource {
	all := slices.Concat(s.Clusters, s.Endpoints, s.Secrets, s.Routes, s.Static, primerOf(s), listenersOf(s))
	for _, c := range s.Contents() {
		all = append(all, c.Resource)
	}
	for _, f := range s.Filters {
		all = append(all, f.TwinNoop())
		if f.Noop() != nil {
			all = append(all, f.Noop())
		}
		if f.Missing != "" {
			continue
		}
		for attempt := range 3 {
			all = append(all, f.Slot(attempt), f.Twin(attempt))
		}
	}
	return all
}

// valid validates everything that may be sent, including nested messages, by
// the rules of Envoy's API.
func valid(t *testing.T, s *Snapshot) {
	t.Helper()
	for _, r := range resources(s) {
		validateAny(t, r.Name, &anypb.Any{TypeUrl: r.TypeURL, Value: r.Value})
	}
}

func validateAny(t *testing.T, at string, packed *anypb.Any) {
	t.Helper()
	kind, err := protoregistry.GlobalTypes.FindMessageByURL(packed.TypeUrl)
	if err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	m := kind.New().Interface()
	if err := proto.Unmarshal(packed.Value, m); err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	if v, ok := m.(validatable); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
	walk(m.ProtoReflect(), func(inner *anypb.Any) { validateAny(t, at, inner) })
}

// walk calls found for each Any in m.
func walk(m protoreflect.Message, found func(*anypb.Any)) {
	visit := func(v protoreflect.Message) {
		if a, ok := v.Interface().(*anypb.Any); ok {
			found(a)
			return
		}
		walk(v, found)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				visit(v.Message())
				return true
			})
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				visit(v.List().Get(i).Message())
			}
		default:
			visit(v.Message())
		}
		return true
	})
}
