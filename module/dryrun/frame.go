package dryrun

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// The two processes exchange JSON, preceded by its length. The sandbox sends nothing
// without being asked.
type (
	// request asks for a trial. It follows the byte askTrial, and the answer is a reply. If
	// that has Need set, the next are giveModule, the size of the module in eight bytes,
	// and its content; then comes another reply.
	request struct {
		Inputs  inputs
		Play    *played       `json:",omitempty"` // nil: the module is only started
		Compile bool          // compile to machine code
		CPU     time.Duration // limit for everything together
	}
	reply struct {
		Need    bool // the module must be sent
		Crowded bool // the process takes much memory and should be replaced

		Outcome outcome
		Message string // what Envoy would object to, or why there is no verdict
		Hint    string
		Missing []string // what the module asked for and only an Envoy has
		Spent   bool     // if late: it used the CPU throughout
		Played  *Played  `json:",omitempty"`
	}
)

type outcome string

const (
	passed  outcome = "passed"
	refusal outcome = "refused"
	unknown outcome = "unknown" // only an Envoy can tell, so it passes
	late    outcome = "late"    // it may pass if compiled, or it loops
	broken  outcome = "broken"  // it could not be tried
)

const (
	askTrial   = 't'
	giveModule = 'm'

	maxModule  = 1 << 30  // in bytes, as in Envoy
	maxRequest = 16 << 20 // size of a frame in bytes; definitions have at most 4 MiB
	maxReply   = 64 << 10
	maxPlayed  = 64 << 20 // of a reply to a play
	maxMessage = 8 << 10  // in JSON, a byte may take six
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

// writeReply writes a reply. If that is too large, it says so instead.
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
