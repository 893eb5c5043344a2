package dryrun

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// What the two processes say to each other: JSON with its length before it.
// The sandbox says nothing unasked.
type (
	// request asks for a trial, behind a byte askTrial; the answer is a reply.
	// Where that says Need, giveModule, the module's size in eight bytes and
	// its content follow, and then comes another reply.
	request struct {
		Inputs  inputs
		Play    *played       `json:",omitempty"` // nil: it is only started
		Compile bool          // to machine code
		CPU     time.Duration // that all of it may take
	}
	reply struct {
		Need    bool // the module
		Crowded bool // the process has grown and should be replaced

		Outcome outcome
		Message string // what Envoy would find wrong, or why there is no verdict
		Hint    string
		Missing []string // what was asked for that only an Envoy has
		Spent   bool     // Late: it computed all the while
		Played  *Played  `json:",omitempty"`
	}
)

type outcome string

const (
	passed  outcome = "passed"
	refusal outcome = "refused"
	unknown outcome = "unknown" // only an Envoy can tell: let through
	late    outcome = "late"    // it may do better compiled, or is in a loop
	broken  outcome = "broken"  // it could not be tried
)

const (
	askTrial   = 't'
	giveModule = 'm'

	maxModule  = 1 << 30  // bytes, as Envoy has it
	maxRequest = 16 << 20 // bytes of a frame; definitions have at most 4 MiB
	maxReply   = 64 << 10
	maxPlayed  = 64 << 20 // of a reply with what was played
	maxMessage = 8 << 10  // a byte may become six
)

func writeFrame(w io.Writer, message any) error {
	b, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return writeBytes(w, b)
}

func writeBytes(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

// writeReply writes a reply, or that it is too large.
func writeReply(w io.Writer, r reply) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if r.Played != nil && len(b) > maxPlayed {
		r.Played, r.Outcome = nil, broken
		r.Message = fmt.Sprintf("what came of the streams takes %d MiB, at most %d can be told", len(b)>>20, maxPlayed>>20)
		return writeFrame(w, r)
	}
	return writeBytes(w, b)
}

func readFrame(r io.Reader, limit uint32, message any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size > limit {
		return fmt.Errorf("message of %d bytes, at most %d are read", size, limit)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	if err := json.Unmarshal(b, message); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}
