// Package relay transports signals of requests to the replica that judges changes. An
// Envoy's access logs may go to any replica, whichever has its ADS stream.
//
// The leader has a [Leader], every other replica a [Follower]. While Envoys are observed,
// the leader asks each of the others about once per second: an [Ask] lists the Envoys, and
// how many requests each of them should report; the [Answer] has what they have reported
// since the last one, in blocks that have ended. A lost answer is sent again, and counts
// once. A follower that is no longer asked stops observing, so that nothing stays enabled
// when a leader dies.
//
// Clocks are not compared: blocks use the leader's clock, which each Ask contains.
//
// The package is pure except for its locks: it starts no goroutines, and has no clock or
// connection. All of it is safe for concurrent use.
package relay

import (
	"errors"
	"time"

	"wasmxds/signal"
)

// Ask is a request of the leader.
type Ask struct {
	Term  uint64            `json:"term"`            // of the leader
	Now   time.Time         `json:"now"`             // by the leader's clock
	Seq   uint64            `json:"seq"`             // of the last answer that the leader received; 0: none
	Rates map[string]uint32 `json:"rates,omitempty"` // per million requests, by observed Envoy
}

// Answer is the answer of a follower, with the signals of the observed Envoys.
type Answer struct {
	Seq     uint64            `json:"seq"` // one more than the Ask's
	Samples map[string]int    `json:"samples,omitempty"`
	Blocks  map[string][]byte `json:"blocks,omitempty"` // encoded by signal.AppendBlocks
}

// ErrTerm means that the Ask came from a replica that no longer leads.
var ErrTerm = errors.New("another server leads now")

var errAsk = errors.New("it is asked for too many Envoys")

const (
	// lease is how long a follower observes Envoys after an Ask.
	lease = 10 * time.Second
	// lost is how long after its last answer a replica is lost.
	lost = 5 * time.Second
	// backFor is how long silence means nothing after a replica was lost, because signals
	// that it received may be lost as well.
	backFor = time.Minute
	// mostBlocks is the most blocks of an Envoy in an Answer. There are no more within a
	// lease.
	mostBlocks = int(2 * lease / signal.BlockTime)
	// clocks is how many Asks the estimate of the leader's clock is based on: the one that
	// took the shortest time on its way is the most accurate.
	clocks = 8
)
