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
	Types // how many there are
)

var typeURLs = [Types]string{
	resource.ClusterType, resource.EndpointType, resource.SecretType,
	resource.ListenerType, resource.RouteType, resource.ExtensionType,
	resource.RuntimeType,
}

// URL is the type URL of t.
func (t Type) URL() string { return typeURLs[t] }

// String is t's short name: "CDS", "ECDS", ...
func (t Type) String() string {
	return [Types]string{"CDS", "EDS", "SDS", "LDS", "RDS", "ECDS", "RTDS"}[t]
}

// TypeOf finds the type of a type URL.
func TypeOf(url string) (Type, bool) {
	for t, u := range typeURLs {
		if u == url {
			return Type(t), true
		}
	}
	return 0, false
}

// WholeState says whether a state-of-the-world response of this type carries
// all resources, so that one that is left out is removed (xDS protocol,
// "Grouping resources into responses").
func (t Type) WholeState() bool { return t == Cluster || t == Listener }
