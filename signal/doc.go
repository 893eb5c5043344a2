// Package signal takes what Envoys tell about a change, and judges it: is the
// cohort that has the change worse off than the cohort that has not?
//
// It has three parts. A [Receiver] takes the access logs that Envoys send:
// alarms, which tell that a VM has crashed, and samples of all requests.
// [Counts] keeps the samples of the Envoys that are watched. [Judge] compares
// two cohorts of them; it is pure.
//
// What an Envoy sends is believed of that Envoy alone: the caller says which
// node a stream may speak for. Memory is bounded in streams, in nodes and in
// time; what is beyond is dropped and counted, and what was not heard is never
// taken for good.
//
// The package starts no goroutines.
package signal

// The names of the access logs, in the identifier that each stream begins with.
const (
	// AlarmLog has each request that a crashed VM answered. A name such as
	// "wasmxds-alarms/web" also tells the listener; streams of alarms are rare
	// enough for one each.
	AlarmLog = "wasmxds-alarms"
	// SampleLog has requests as RTDS has them sampled.
	SampleLog = "wasmxds-samples"
)

// OwnerState is the filter state in which Envoy keeps which filter of the chain
// answered a request, by the name that it has in the chain. It comes with an
// entry where it is among the logger's filter_state_objects_to_log. It is the
// one thing that tells which of several Wasm filters has crashed:
// response_code_details are the same for all.
const OwnerState = "envoy.filters.network.http_connection_manager.local_reply_owner"
