package intern

import "wasmxds/resource"

// Type is one of the xDS types, in the order in which they are sent.
type Type uint8

const (
	Cluster Type = iota
	Endpoint
	Secret
	Listener
	Route
	Extension
	Runtime
	Types // the number of types
)

var typeURLs = [Types]string{
	resource.ClusterType, resource.EndpointType, resource.SecretType,
	resource.ListenerType, resource.RouteType, resource.ExtensionType,
	resource.RuntimeType,
}

// URL returns the type URL.
func (t Type) URL() string { return typeURLs[t] }

// String returns the short name: "CDS", "ECDS", ...
func (t Type) String() string {
	return [Types]string{"CDS", "EDS", "SDS", "LDS", "RDS", "ECDS", "RTDS"}[t]
}

// TypeOf returns the type with a type URL.
func TypeOf(url string) (Type, bool) {
	for t, u := range typeURLs {
		if u == url {
			return Type(t), true
		}
	}
	return 0, false
}

// WholeState reports whether a state-of-the-world response of this type contains all
// resources, so that a resource that is left out is removed (xDS protocol, "Grouping
// resources into responses").
func (t Type) WholeState() bool { return t == Cluster || t == Listener }
