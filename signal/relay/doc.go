// Package relay brings what Envoys tell of their requests to the server that judges
// changes, where several servers share a state. An Envoy's access logs may go to any
// of them, whichever has its ADS stream.
//
// The server that leads keeps a [Leader], all others a [Follower]. As long as anybody
// is watched the leader asks each of the others about once a second: an [Ask] says
// who is, and of how many requests each of them is to tell; the [Answer] has what they
// have told since the last one, in blocks that have ended. An answer that is lost is
// given again, and counts once. Who is not asked any more looks at nobody, so nothing
// is left behind where a leader dies.
//
// Clocks are not compared: blocks are by the leader's clock, which each Ask tells.
//
// The package is pure but for its locks: it starts no goroutines, and has no clock
// or connection. All of it is safe for concurrent use.
package relay

import (
	"errors"
	"time"

	"wasmxds/signal"
)

// Ask is what the leader asks another server.
type Ask struct {
	Term  uint64            `json:"term"`            // in which it leads
	Now   time.Time         `json:"now"`             // by its clock
	Seq   uint64            `json:"seq"`             // of the newest answer that it has taken; 0: of none
	Rates map[string]uint32 `json:"rates,omitempty"` // of a million requests, of each Envoy that is watched
}

// Answer is what a server gives: what it has taken of the Envoys that are watched.
type Answer struct {
	Seq     uint64            `json:"seq"` // one more than the Ask's
	Samples map[string]int    `json:"samples,omitempty"`
	Blocks  map[string][]byte `json:"blocks,omitempty"` // as signal.AppendBlocks has them
}

// ErrTerm: a server was asked by one that does not lead any more.
var ErrTerm = errors.New("another server leads now")

var errAsk = errors.New("it is asked for too many Envoys")

const (
	// lease is for how long a server looks at Envoys after it was asked to.
	lease = 10 * time.Second
	// lost is after what time a server has not been heard.
	lost = 5 * time.Second
	// backFor is for how long silence means nothing after a server was not heard:
	// what was told to it may be gone.
	backFor = time.Minute
	// mostBlocks is how many of an Envoy are in an Answer. There are no more in a
	// lease.
	mostBlocks = int(2 * lease / signal.BlockTime)
	// clocks is how many Asks a clock is told by: the one that took least time on its
	// way is nearest to the truth.
	clocks = 8
)
