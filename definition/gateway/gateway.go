// Package gateway reads Envoy Gateway's kind of definition,
// EnvoyExtensionPolicy. Start with [Kinds].
package gateway

import "wasmxds/definition"

// Kinds returns the kinds of Envoy Gateway that are supported.
func Kinds() []definition.Kind {
	return []definition.Kind{
		{Name: "EnvoyExtensionPolicy", New: func() definition.Reader { return &policies{} }},
	}
}

// End does nothing.
func (*policies) End() {}
