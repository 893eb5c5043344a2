// Package swap implements the protocol of one Envoy: it decides which response to send
// next, so that no request fails and none passes without its filter.
//
// Start with [Machine]. It is a plain value: events go in through [Machine.Step], and
// responses to send come out. It has no goroutine, clock or connection, and is not safe for
// concurrent use. Many machines share one [Interner], so that machines that take the same
// step share its encoded bytes.
//
// The protocol, in the order in which a fresh Envoy sees it:
//
//   - RTDS, if its bootstrap has it: each layer, at once.
//   - CDS: the clusters, including the module server's.
//   - LDS: only the primer, a listener that is bound to no port, with a slot for every filter, its
//     twin, and a route configuration (the gate) that is not answered yet.
//   - ECDS: each filter goes to its twin, marked nack_on_code_cache_miss, alone in its response
//     unless Envoy already has the module. A NACK means that Envoy fetches the module. The filter is
//     pushed again, in other bytes, when the download was seen to complete, or else after a back-off.
//     An ACK means that this Envoy has fetched, compiled, started and configured it: the filter is
//     primed.
//   - LDS: the listeners whose filters are primed; ECDS: their slots.
//   - RDS: the gate. Envoy becomes ready.
//
// A changed filter goes to the twin, then to the slot. The slot never gets what this Envoy
// has not ACKed in the twin, so what serves requests is never in a state of fetching. The
// scripts in testdata/ show each case.
//
// While a change is open on an Envoy, the previous version is a standby: it has an
// additional twin, and the slot can go back to it at once.
//
// An Envoy without LDS from this server (static listeners) has no twins: NACKs and further
// pushes then happen in the slot itself.
package swap

import "wasmxds/xds/swap/intern"

// What machines share, with the answers that they cache there.
type (
	Interner = intern.Interner[answers]
	Response = intern.Response[answers]
	acked    = intern.Acked[answers]
	item     = intern.Item
)

// NewInterner returns an Interner for the machines of a server.
func NewInterner() *Interner { return intern.New[answers]() }

// Type is one of the xDS types, in the order in which they are sent.
type Type = intern.Type

// The types.
const (
	Cluster   = intern.Cluster
	Endpoint  = intern.Endpoint
	Secret    = intern.Secret
	Listener  = intern.Listener
	Route     = intern.Route
	Extension = intern.Extension
	Runtime   = intern.Runtime
	Types     = intern.Types // the number of types
)

// TypeOf returns the type with a type URL.
func TypeOf(url string) (Type, bool) { return intern.TypeOf(url) }
