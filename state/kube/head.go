package kube

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"wasmxds/state"
	"wasmxds/state/packed"
)

const (
	// maxLog is how large the batches in a head are together. Each write writes all
	// of them.
	maxLog = 96 << 10
	// keepLog is how much of them stays when it is all in shards: for those who watch.
	keepLog = 32 << 10
)

// head is what the head of a store says. It is not changed once it is made.
type head struct {
	ID       string                    `json:"id"`
	Revision state.Revision            `json:"revision"`        // of the last batch
	Sharded  state.Revision            `json:"sharded"`         // up to which all is in the shards
	Since    state.Revision            `json:"since"`           // after which all is in the log
	Terms    map[string]state.Revision `json:"terms,omitempty"` // number of the last one, by what is led
	Shards   []shard                   `json:"shards,omitempty"`

	log     []batch
	version string // of the Secret; "": there is none
}

// shard is a Secret with the entries from one key on, up to that of the next.
type shard struct {
	Name  string `json:"name"`
	From  []byte `json:"from,omitempty"`
	Bytes int    `json:"bytes"`
}

// batch is what one write has done, its values packed.
type batch struct {
	at  state.Revision
	ops []state.Op
}

func (b batch) size() int {
	size := 0
	for _, op := range b.ops {
		size += entrySize(op.Key, op.Value)
	}
	return size
}

// entrySize is about what an entry takes.
func entrySize(key string, value []byte) int { return len(key) + len(value) + 16 }

func (h *head) exists() bool { return h.version != "" }

// pending are the batches that are not in the shards.
func (h *head) pending() []batch {
	i := slices.IndexFunc(h.log, func(b batch) bool { return b.at > h.Sharded })
	if i < 0 {
		return nil
	}
	return h.log[i:]
}

// newest is what the log says last of a key that is not in the shards so.
func (h *head) newest(key string) (op state.Op, at state.Revision, ok bool) {
	for _, b := range slices.Backward(h.pending()) {
		for _, op := range b.ops {
			if op.Key == key {
				return op, b.at, true
			}
		}
	}
	return state.Op{}, 0, false
}

// shardOf is the index of the shard that a key would be in.
func (h *head) shardOf(key string) int {
	i, found := slices.BinarySearchFunc(h.Shards, key, func(s shard, key string) int {
		if string(s.From) < key {
			return -1
		} else if string(s.From) > key {
			return 1
		}
		return 0
	})
	if found {
		return i
	}
	return i - 1
}

// drop leaves out of a log what is in the shards and goes beyond so many bytes; the
// newest stays if it fits into a head at all.
func (h *head) drop(most int) {
	size := 0
	for i, b := range slices.Backward(h.log) {
		size += b.size()
		last := i == len(h.log)-1 && size <= maxLog
		if size > most && !last && b.at <= h.Sharded {
			h.Since, h.log = b.at, h.log[i+1:]
			return
		}
	}
}

// logSize is how large batches are together.
func logSize(of []batch) int {
	size := 0
	for _, b := range of {
		size += b.size()
	}
	return size
}

// What a head's Secret has.
const (
	headKey = "head" // JSON
	logKey  = "log"
)

func (h *head) data() (map[string][]byte, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("write the head: %w", err)
	}
	var log []byte
	for _, b := range h.log {
		log = binary.AppendUvarint(log, uint64(b.at))
		log = packed.AppendBytes(log, packed.AppendOps(nil, b.ops))
	}
	if len(text)+len(log) > maxSecret {
		return nil, fmt.Errorf("the state has grown beyond what can be kept: %d shards", len(h.Shards))
	}
	return map[string][]byte{headKey: text, logKey: log}, nil
}

var errNoLog = errors.New("its log is damaged")

func readHead(version string, data map[string][]byte) (*head, error) {
	h := &head{version: version}
	if err := json.Unmarshal(data[headKey], h); err != nil {
		return nil, fmt.Errorf("it is none of xds-server's: %w", err)
	}
	for rest := data[logKey]; len(rest) > 0; {
		at, size := binary.Uvarint(rest)
		if size <= 0 {
			return nil, errNoLog
		}
		ops, more, ok := packed.CutBytes(rest[size:])
		if !ok {
			return nil, errNoLog
		}
		rest = more
		b := batch{at: state.Revision(at)}
		var err error
		if b.ops, err = packed.Ops(ops); err != nil {
			return nil, fmt.Errorf("%w: %w", errNoLog, err)
		}
		h.log = append(h.log, b)
	}
	return h, nil
}
