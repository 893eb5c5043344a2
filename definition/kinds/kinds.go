// Package kinds has all kinds of documents that xds-server reads, in one place.
// A new dialect is a package beside it and a line here.
package kinds

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/definition/gateway"
	"wasmxds/definition/istio"
)

// Parser reads documents of all kinds.
func Parser() definition.Parser {
	return definition.Parser{Kinds: slices.Concat(istio.Kinds(), gateway.Kinds())}
}
