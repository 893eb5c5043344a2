package dryrun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
)

//go:generate sh -c "for f in testdata/*.wat; do wat2wasm --debug-names $f -o ${f%.wat}.wasm; done"

// command has this very program be a sandbox.
var command = func() []string {
	program, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return []string{program, "trial"}
}()

func TestMain(m *testing.M) {
	switch os.Args[0] {
	case "trial":
		os.Exit(Sandbox(os.Stdin, os.Stdout))
	case "parent":
		fmt.Println(spinning(os.Args[1]))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// runner has all of testdata in its store.
type runner struct {
	*Runner
	modules map[string]module.Info // by name
}

func newRunner(t *testing.T, options Options) *runner {
	t.Helper()
	store, err := module.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options.Store, options.Command = store, command
	r := New(t.Context(), options)
	t.Cleanup(r.Close)
	out := &runner{r, map[string]module.Info{}}
	files, err := filepath.Glob("testdata/*.wasm")
	if err != nil || len(files) == 0 {
		t.Fatalf("no modules in testdata: %v", err)
	}
	for _, path := range files {
		out.add(t, strings.TrimSuffix(filepath.Base(path), ".wasm"), path)
	}
	return out
}

func (r *runner) add(t *testing.T, name, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if r.modules[name], err = r.options.Store.Put(f, 64<<20); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func text(s string) *anypb.Any { return pack(wrapperspb.String(s)) }

func pack(m proto.Message) *anypb.Any {
	a, err := anypb.New(m)
	if err != nil {
		panic(err)
	}
	return a
}

func TestRun(t *testing.T) {
	r := newRunner(t, Options{
		Time:      time.Minute,
		Memory:    16 << 20,
		HostEnv:   []string{"REGION", "NOWHERE"},
		LookupEnv: func(name string) (string, bool) { return "Europe", name != "NOWHERE" },
	})
	tests := []struct {
		name   string
		module string // default: filter
		filter definition.Filter
		err    string // contained; "": it passes
	}{
		{name: "no configuration"},
		{name: "configuration", filter: definition.Filter{Config: text("x")}},
		{name: "false", filter: definition.Filter{Config: text("false!")}, err: `dry run: proxy_on_configure returned false; it logged: "false!"`},
		{name: "bytes", filter: definition.Filter{Config: pack(wrapperspb.Bytes([]byte("f")))}, err: "returned false"},
		{name: "broken string", filter: definition.Filter{Config: &anypb.Any{TypeUrl: text("").TypeUrl, Value: []byte{1}}}, err: "config: read string"},
		{name: "another message as it is", filter: definition.Filter{Config: &anypb.Any{TypeUrl: "type.googleapis.com/x.Y", Value: []byte("f")}}, err: "returned false"},
		{name: "secret", filter: definition.Filter{Config: text("false!"), ConfigSecret: &definition.SecretKey{Name: "a", Key: "b"}},
			err: `dry run: proxy_on_configure returned false; what it logged is not shown, as its configuration comes from a Secret`},
		{name: "VM refuses", filter: definition.Filter{VMConfig: text("no")}, err: `dry run: proxy_on_vm_start returned false; it logged: "starting"`},
		{name: "VM agrees", filter: definition.Filter{VMConfig: text("yes")}},
		{name: "trap", filter: definition.Filter{Config: text("trap")}, err: "proxy_on_configure trapped: unreachable (in "},
		{name: "stderr", filter: definition.Filter{Config: text("write")}, err: `it logged: "write | bad header name"`},
		{name: "memory without end", filter: definition.Filter{Config: text("m")}, err: "trapped: unreachable"},
		{name: "root id", filter: definition.Filter{RootID: "root", Config: text("r")}},
		{name: "another root id", filter: definition.Filter{RootID: "toor", Config: text("r")}, err: "returned false"},
		{name: "what only an Envoy has", filter: definition.Filter{Config: text("p")}},
		{name: "HTTP call", filter: definition.Filter{Config: text("h")}},
		{name: "HTTP call without headers", filter: definition.Filter{Config: text("H")}},
		{name: "shared data", filter: definition.Filter{Config: text("d")}},
		{name: "counter", filter: definition.Filter{Config: text("c")}},
		{name: "no headers", filter: definition.Filter{Config: text("n")}},
		{name: "environment", filter: definition.Filter{Config: text("e"), Env: map[string]string{"A": "b"}, HostEnv: []string{"REGION"}},
			err: `A=b\x00REGION=Europe`},
		{name: "environment of the Envoys", filter: definition.Filter{Config: text("e"), HostEnv: []string{"NOWHERE"}}},
		{name: "environment of this process", filter: definition.Filter{Config: text("e"), HostEnv: []string{"PASSWORD"}}},
		{name: "allowed", filter: definition.Filter{Config: text("a"), Allow: []string{"proxy_log", "proxy_get_buffer_bytes"}}},
		{name: "not allowed", filter: definition.Filter{Config: text("a"), Allow: []string{"proxy_get_buffer_bytes"}}, err: "call of proxy_log, which the filter's allow list doesn't have"},

		{name: "host call too early", module: "early", err: "_start called proxy_get_current_time_nanoseconds, which Envoy answers by ending the module"},
		{name: "unknown imports", module: "import", err: "it imports env.foo, env.proxy_continue_stream, which Envoy doesn't provide (ABI 0.1.0)"},
		{name: "import of another type", module: "mismatch", err: "it imports env.proxy_log as (i32 i64) → (i32), Envoy's is (i32 i32 i32) → (i32)"},
		{name: "no malloc", module: "nomalloc", err: "it exports neither malloc nor proxy_on_memory_allocate"},
		{name: "start function traps", module: "start", err: "instantiation trapped"},
		{name: "imported memory", module: "memory"},
		{name: "more memory than there is", module: "roomy"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.module == "" {
				test.module = "filter"
			}
			err := r.Run(t.Context(), &test.filter, r.modules[test.module])
			if test.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Fatalf("got %v, want %q", err, test.err)
			}
			if _, verdict := errors.AsType[*module.ContentError](err); !verdict {
				t.Errorf("%v is no verdict", err)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	structured, err := structpb.NewStruct(map[string]any{"f": 1})
	if err != nil {
		t.Fatal(err)
	}
	wire := pack(structured)
	for _, test := range []struct {
		in   *anypb.Any
		want string
	}{
		{nil, ""},
		{text("a"), "a"},
		{pack(wrapperspb.Bytes([]byte{1, 2})), "\x01\x02"},
		{wire, string(wire.Value)},
		{&anypb.Any{TypeUrl: "type.googleapis.com/x.Y", Value: []byte("z")}, "z"},
	} {
		if got, err := plain(test.in.GetTypeUrl(), test.in.GetValue()); err != nil || string(got) != test.want {
			t.Errorf("%v: got %q, %v", test.in, got, err)
		}
	}
}

func FuzzPairs(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00a\x00bc\x00"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		size := 4
		for _, pair := range pairs(b) {
			size += 8 + len(pair[0]) + len(pair[1]) + 2
		}
		if len(pairs(b)) > 0 && size > len(b) {
			t.Fatalf("%d bytes of pairs from %d", size, len(b))
		}
	})
}

// What computes until it is stopped is not tried again. On a busy machine it
// may have had no chance to, so that it is.
func TestRunTooLong(t *testing.T) {
	r := newRunner(t, Options{Time: 500 * time.Millisecond})
	var err error
	eventually(t, "there is a verdict", func() bool {
		err = r.Run(t.Context(), &definition.Filter{Config: text("l")}, r.modules["filter"])
		if err == nil || !strings.HasPrefix(err.Error(), "dry run: it has not started after 500ms") {
			t.Fatal(err)
		}
		_, verdict := errors.AsType[*module.ContentError](err)
		return verdict
	})
	if !strings.Contains(err.Error(), `; it logged: "l"`) {
		t.Error(err)
	}
	if again := r.Run(t.Context(), &definition.Filter{Config: text("l")}, r.modules["filter"]); again.Error() != err.Error() {
		t.Error(again)
	}
}

func TestRunStackOverflow(t *testing.T) {
	r := newRunner(t, Options{Time: time.Minute})
	err := r.Run(t.Context(), &definition.Filter{Config: text("s")}, r.modules["filter"])
	if err == nil || !strings.Contains(err.Error(), "proxy_on_configure trapped: stack overflow") {
		t.Error(err)
	}
}

func TestRunInvalidCode(t *testing.T) {
	r := newRunner(t, Options{})
	b, err := os.ReadFile("testdata/nomalloc.wasm")
	if err != nil {
		t.Fatal(err)
	}
	end := strings.LastIndex(string(b), "\x02\x00\x0b") // a function's body
	b[end+2] = 0x6a                                     // adds two numbers that aren't there
	info, err := r.options.Store.Put(strings.NewReader(string(b)), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		err = r.Run(t.Context(), &definition.Filter{}, info)
		if err == nil || !strings.Contains(err.Error(), "not a valid Wasm module") {
			t.Fatalf("got %v", err)
		}
	}
}

// wazero refuses custom sections without content, which Envoy doesn't read.
func TestRunOddSection(t *testing.T) {
	r := newRunner(t, Options{})
	b, err := os.ReadFile("testdata/filter.wasm")
	if err != nil {
		t.Fatal(err)
	}
	info, err := r.options.Store.Put(strings.NewReader(string(b)+"\x00\x02\x01x"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Run(t.Context(), &definition.Filter{}, info); err != nil {
		t.Error(err)
	}
}

func TestRunWithoutModule(t *testing.T) {
	r := newRunner(t, Options{})
	err := r.Run(t.Context(), &definition.Filter{}, module.Info{SHA256: strings.Repeat("0", 64), ABI: "0.2.1"})
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestRunCancelled(t *testing.T) {
	r := newRunner(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if err := r.Run(ctx, &definition.Filter{Config: text("l")}, r.modules["filter"]); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Many runs at once take no more processes than they may.
func TestRunConcurrently(t *testing.T) {
	r := newRunner(t, Options{AtOnce: 2})
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			name := []string{"filter", "memory", "roomy"}[i%3]
			if err := r.Run(t.Context(), &definition.Filter{Config: text("x")}, r.modules[name]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if n := len(r.pool.running); n < 1 || n > 2 {
		t.Errorf("%d processes, want one or two", n)
	}
}

// BenchmarkConfigChange is a new configuration for a module that is known.
func BenchmarkConfigChange(b *testing.B) {
	store, err := module.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	f, err := os.Open("testdata/filter.wasm")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	info, err := store.Put(f, 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	r := New(b.Context(), Options{Store: store, Command: command})
	defer r.Close()
	for b.Loop() {
		if err := r.Run(b.Context(), &definition.Filter{Config: text("x")}, info); err != nil {
			b.Fatal(err)
		}
	}
}
