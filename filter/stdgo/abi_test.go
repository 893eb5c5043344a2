package stdgo_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// TestABI compares a compiled filter with the SDK's own source: what the SDK
// has TinyGo import and export must be there under the same types.
func TestABI(t *testing.T) {
	imports, exports := sdkABI(t)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	module, err := r.CompileModule(t.Context(), build(t, "./testdata/everything"))
	if err != nil {
		t.Fatal(err)
	}

	imported := map[string]string{}
	for _, f := range module.ImportedFunctions() {
		if from, name, _ := f.Import(); from == "env" {
			imported[name] = signature(f)
		}
	}
	for name, want := range imports {
		if got := imported[name]; got != want {
			t.Errorf("imports %s%s, the SDK has %s", name, got, want)
		}
	}
	for name := range imported {
		if imports[name] == "" {
			t.Errorf("imports %s, which the SDK doesn't have", name)
		}
	}
	for name, want := range exports {
		f := module.ExportedFunctions()[name]
		if f == nil {
			t.Errorf("doesn't export %s", name)
		} else if got := signature(f); got != want {
			t.Errorf("exports %s%s, the SDK has %s", name, got, want)
		}
	}
}

// TestCallbacksApart makes sure that what Envoy calls for each piece of a body
// is exported only where it was asked for.
func TestCallbacksApart(t *testing.T) {
	source := `package main
import (
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm"
	_ "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/stdgo"
	"github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/types"
)
func init() { proxywasm.SetVMContext(&types.DefaultVMContext{}) }
func main() {}
`
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	module, err := r.CompileModule(t.Context(), build(t, file))
	if err != nil {
		t.Fatal(err)
	}
	exported := module.ExportedFunctions()
	if exported["proxy_on_request_headers"] == nil {
		t.Error("doesn't export proxy_on_request_headers")
	}
	for name := range exported {
		for _, part := range []string{"_body", "_trailers", "_data", "_connection"} {
			if strings.Contains(name, part) {
				t.Errorf("exports %s", name)
			}
		}
	}
}

func build(t *testing.T, pkg string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "filter.wasm")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, text)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

func signature(f api.FunctionDefinition) string {
	return fmt.Sprint(types(f.ParamTypes()), types(f.ResultTypes()))
}

func types(list []api.ValueType) []string {
	names := make([]string, len(list))
	for i, one := range list {
		names[i] = api.ValueTypeName(one)
	}
	return names
}

// sdkABI reads the functions that the SDK marks with //export. Those without
// a body are imports: that is how TinyGo has it.
func sdkABI(t *testing.T) (imports, exports map[string]string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/tetratelabs/proxy-wasm-go-sdk/proxywasm/internal").Output()
	if err != nil {
		t.Fatalf("finding the SDK: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "abi_*.go"))
	if err != nil {
		t.Fatal(err)
	}
	imports, exports = map[string]string{}, map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Doc == nil {
				continue
			}
			for _, comment := range f.Doc.List {
				name, ok := strings.CutPrefix(comment.Text, "//export ")
				if !ok {
					continue
				}
				types := fmt.Sprint(wasmTypes(t, f.Type.Params), wasmTypes(t, f.Type.Results))
				if f.Body == nil {
					imports[name] = types
				} else {
					exports[name] = types
				}
			}
		}
	}
	if len(imports) < 29 || len(exports) < 22 {
		t.Fatalf("found only %d imports and %d exports in the SDK", len(imports), len(exports))
	}
	return imports, exports
}

// wasmTypes are the types under TinyGo, where int and pointers have 32 bits.
func wasmTypes(t *testing.T, fields *ast.FieldList) []string {
	t.Helper()
	list := []string{}
	if fields == nil {
		return list
	}
	for _, field := range fields.List {
		one := "i32"
		if name, ok := field.Type.(*ast.Ident); ok && strings.HasSuffix(name.Name, "int64") {
			one = "i64"
		}
		for range max(len(field.Names), 1) {
			list = append(list, one)
		}
	}
	return list
}
