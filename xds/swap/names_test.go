package swap_test

import (
	"wasmxds/definition"
	"wasmxds/xds/swap"
)

func typeOf(short string) (swap.Type, bool) {
	for t := range swap.Types {
		if t.String() == short {
			return t, true
		}
	}
	return 0, false
}

func nodeOf() definition.Node { return definition.Node{ID: "envoy"} }
