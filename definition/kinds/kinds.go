// Package kinds lists all kinds of documents that xds-server reads. To add a
// dialect, add a package beside this one and a line here.
package kinds

import (
	"slices"

	"wasmxds/definition"
	"wasmxds/definition/gateway"
	"wasmxds/definition/istio"
)

// Parser returns a Parser for documents of all kinds.
func Parser() definition.Parser {
	return definition.Parser{Kinds: slices.Concat(istio.Kinds(), gateway.Kinds())}
}
