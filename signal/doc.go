// Package signal receives the signals of Envoys, and judges a change by them: is the cohort
// that has the change worse off than the cohort that does not?
//
// It has three parts. A [Receiver] receives the access logs of Envoys: alarms, which report
// that a VM has crashed, and samples of all requests. [Counts] stores the samples of the
// Envoys that are observed. [Judge] compares two cohorts of them; it is pure.
//
// An Envoy can only report on itself: the caller decides which node a stream may speak for.
// Memory is bounded in streams, nodes and time. What exceeds a bound is dropped and
// counted, and missing signals are never taken for good ones.
//
// The package starts no goroutines.
package signal

// Names of the access logs, in the identifier at the beginning of each stream.
const (
	// AlarmLog contains each request that a crashed VM answered. A name such as
	// "wasmxds-alarms/web" also names the listener; alarms are rare enough for one stream
	// per listener.
	AlarmLog = "wasmxds-alarms"
	// SampleLog contains the requests that RTDS selects for sampling.
	SampleLog = "wasmxds-samples"
)

// OwnerState is the filter state in which Envoy stores the name, in the chain, of the
// filter that answered a request. A log entry includes it if the logger lists it in
// filter_state_objects_to_log. It is the only way to tell which of several Wasm filters has
// crashed: response_code_details are the same for all.
const OwnerState = "envoy.filters.network.http_connection_manager.local_reply_owner"
