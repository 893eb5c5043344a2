package meter

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tetratelabs/wazero"

	"wasmxds/e2e/wasmtest"
)

// function is a module with one function from and to an i32, exported as f.
func function(locals, body string) []byte {
	code := locals + body
	sized := func(s string) string { return string(rune(len(s))) + s }
	return []byte("\x00asm\x01\x00\x00\x00" +
		"\x01" + sized("\x01\x60\x01\x7f\x01\x7f") +
		"\x03" + sized("\x01\x00") +
		"\x07" + sized("\x01\x01f\x00\x00") +
		"\x0a" + sized("\x01"+sized(code)))
}

func TestCount(t *testing.T) {
	for name, test := range map[string]struct {
		module []byte
		in     uint64
		out    uint64
		count  uint64
	}{
		"straight on": {function("\x00", "\x20\x00\x41\x01\x6a\x0b"), 4, 5, 3},
		// if (x) { return 7 } nop; return 9
		"if":    {function("\x00", "\x20\x00\x04\x40\x41\x07\x0f\x0b\x01\x41\x09\x0b"), 1, 7, 4},
		"no if": {function("\x00", "\x20\x00\x04\x40\x41\x07\x0f\x0b\x01\x41\x09\x0b"), 0, 9, 3},
		// loop { x = x - 1; br_if x }; x: five instructions and a branch each time
		"loop": {function("\x00", "\x03\x40\x20\x00\x41\x01\x6b\x22\x00\x0d\x00\x0b\x20\x00\x0b"), 10, 0, 51},
	} {
		b, err := Count(test.module)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := wazero.NewRuntime(t.Context())
		m, err := r.Instantiate(t.Context(), b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		out, err := m.ExportedFunction("f").Call(t.Context(), test.in)
		if err != nil || out[0] != test.out {
			t.Errorf("%s: %v, %v", name, out, err)
		}
		if n := m.ExportedGlobal(Counter).Get(); n != test.count {
			t.Errorf("%s: %d instructions, want %d", name, n, test.count)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// Whole modules still are modules, with all that they had.
func TestCountModules(t *testing.T) {
	modules := map[string][]byte{"assembled": wasmtest.Filter{Header: "a", Counts: "b", Fault: wasmtest.SlowDown, At: 1}.Module()}
	for _, pattern := range []string{"../testdata/*.wasm", "../../../bin/filters/*.wasm"} {
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if modules[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	for name, b := range modules {
		before, err := r.CompileModule(t.Context(), b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		counted, err := Count(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		after, err := r.CompileModule(t.Context(), counted)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if len(after.ExportedFunctions()) != len(before.ExportedFunctions()) || len(after.ImportedFunctions()) != len(before.ImportedFunctions()) {
			t.Errorf("%s: other imports or exports", name)
		}
		t.Logf("%s: %d bytes, then %d", name, len(b), len(counted))
	}
}

func FuzzCount(f *testing.F) {
	f.Add(function("\x00", "\x20\x00\x41\x01\x6a\x0b"))
	f.Add(wasmtest.Filter{Header: "a", Value: "b"}.Module())
	f.Fuzz(func(t *testing.T, b []byte) {
		counted, err := Count(b)
		if err == nil && !bytes.Contains(counted, []byte(Counter)) {
			t.Error("it doesn't count")
		}
	})
}
