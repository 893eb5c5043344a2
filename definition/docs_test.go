package definition

import (
	"testing"

	"wasmxds/definition/internal/fieldtest"
)

func TestDocs(t *testing.T) {
	fieldtest.Documented(t, "../docs/kinds.md", map[string]any{
		"WasmFilter": wasmFilter{}, "LuaFilter": luaFilter{}, "Listener": listener{}, "Rollout": rollout{}, "FilterTest": filterTest{}, "Envoy's own": extensionHints{}, "List (v1)": list{},
	})
}
