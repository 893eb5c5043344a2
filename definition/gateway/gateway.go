// Package gateway reads Envoy Gateway's kind of definition,
// EnvoyExtensionPolicy. Start with [Kinds].
package gateway

import "wasmxds/definition"

// Kinds are those of Envoy Gateway that are read.
func Kinds() []definition.Kind {
	return []definition.Kind{
		{Name: "EnvoyExtensionPolicy", New: func() definition.Reader { return &policies{} }},
	}
}

// End has nothing left to do.
func (*policies) End() {}
