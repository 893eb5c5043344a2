package signal

import (
	"strings"
	"time"
)

// Sample is what counts of a request.
type Sample struct {
	Error   bool
	Latency time.Duration // to the last byte of the answer
}

// Crash tells of a request that a crashed VM answered.
type Crash struct {
	Node     string
	At       time.Time // when it came in
	Listener string    // "": not told
	Filter   string    // as it is named in the chain; "": not told
	Details  string    // Envoy's words, which begin with "wasm_fail"
}

const (
	viaUpstream = "via_upstream" // response_code_details of what an upstream answered
	crashed     = "wasm_fail"    // how those of a crashed VM begin
)

// sample is what an entry says for the counts.
func (e *entry) sample() Sample {
	took := e.took
	if !took.there {
		took = e.lasted
	}
	return Sample{Error: e.failed(), Latency: took.value()}
}

// failed tells whether a request counts as an error: it was answered 5xx, or not
// at all before its client gave up, or 4xx by Envoy or one of its filters. What an
// upstream answers 4xx is the client's affair. Only the difference between cohorts
// is judged, so a filter that refuses some requests, as it always did, is none.
func (e *entry) failed() bool {
	switch {
	case e.code == 0 || e.code >= 500:
		return true
	case e.code >= 400:
		return string(e.details) != viaUpstream // a filter may have given none
	}
	return false
}

// crash is what an entry says as an alarm.
func (e *entry) crash() (c Crash, ok bool) {
	if !strings.HasPrefix(string(e.details[:min(len(e.details), len(crashed))]), crashed) {
		return Crash{}, false
	}
	return Crash{Filter: text(e.owner), Details: text(e.details)}, true
}

// text keeps as much of it as is kept.
func text(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "") }
