package dryrun

import (
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// checkLinks checks that Envoy provides what a module imports. It is inconclusive if the
// module imports its memory, which Envoy can provide and we can't.
func checkLinks(code wazero.CompiledModule, abi string) (inconclusive bool, err error) {
	provided := map[[2]string]function{}
	for _, f := range functions() {
		provided[[2]string{f.module, f.name}] = f
	}
	var missing []string
	for _, imported := range code.ImportedFunctions() {
		module, name, _ := imported.Import()
		f, found := provided[[2]string{module, name}]
		if !found || !f.in(abi) {
			missing = append(missing, module+"."+name)
			continue
		}
		params, results := f.types()
		if !slices.Equal(imported.ParamTypes(), params) || !slices.Equal(imported.ResultTypes(), results) {
			return false, refused("the SDK may be for another ABI version",
				"it imports %s.%s as %s, Envoy's is %s", module, name,
				signature(imported.ParamTypes(), imported.ResultTypes()), signature(params, results))
		}
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		more := ""
		if len(missing) > 3 {
			missing, more = missing[:3], " and others"
		}
		return false, refused(importHint(missing[0]),
			"it imports %s%s, which Envoy doesn't provide (ABI %s)", strings.Join(missing, ", "), more, abi)
	}
	return len(code.ImportedMemories()) > 0, nil
}

func importHint(name string) string {
	switch {
	case name == "env.abort":
		return "for AssemblyScript: compile with --use abort=abort_proc_exit, as its Proxy-Wasm SDK says"
	case strings.HasPrefix(name, "wasi_snapshot_preview2"), strings.HasPrefix(name, "wasi:"):
		return "build for wasm32-wasip1"
	}
	return ""
}

// in reports whether a function exists for modules of an ABI version.
func (f function) in(abi string) bool {
	return f.abi == "" || slices.Contains(strings.Fields(f.abi), abi)
}

func signature(params, results []api.ValueType) string {
	names := func(types []api.ValueType) string {
		var s []string
		for _, t := range types {
			s = append(s, api.ValueTypeName(t))
		}
		return "(" + strings.Join(s, " ") + ")"
	}
	return names(params) + " → " + names(results)
}
