package signal

import (
	"strings"
	"time"
)

// Sample is what is counted of a request.
type Sample struct {
	Error   bool
	Latency time.Duration // to the last byte of the response
}

// Crash describes a request that a crashed VM answered.
type Crash struct {
	Node     string
	At       time.Time // when it arrived
	Listener string    // "": unknown
	Filter   string    // its name in the chain; "": unknown
	Details  string    // response_code_details, which begin with "wasm_fail"
}

const (
	viaUpstream = "via_upstream" // response_code_details of an upstream's response
	crashed     = "wasm_fail"    // prefix of response_code_details of a crashed VM
)

// sample returns the Sample of an entry.
func (e *entry) sample() Sample {
	took := e.took
	if !took.there {
		took = e.lasted
	}
	return Sample{Error: e.failed(), Latency: took.value()}
}

// failed reports whether a request is an error: the response was 5xx, or there was none
// before the client gave up, or Envoy or one of its filters answered 4xx. A 4xx of an
// upstream is the client's fault. Only the difference between cohorts is judged, so a
// filter that rejects some requests, as it always did, causes none.
func (e *entry) failed() bool {
	switch {
	case e.code == 0 || e.code >= 500:
		return true
	case e.code >= 400:
		return string(e.details) != viaUpstream // a filter may have set no details
	}
	return false
}

// crash returns the Crash of an alarm entry.
func (e *entry) crash() (c Crash, ok bool) {
	if !strings.HasPrefix(string(e.details[:min(len(e.details), len(crashed))]), crashed) {
		return Crash{}, false
	}
	return Crash{Filter: text(e.owner), Details: text(e.details)}, true
}

// text returns at most maxText bytes of b, as valid UTF-8.
func text(b []byte) string { return strings.ToValidUTF8(string(b[:min(len(b), maxText)]), "") }
