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
	// maxLog is the total size of the batches in a head, in bytes. Every write writes all
	// of them.
	maxLog = 96 << 10
	// keepLog is how much of the log stays, for watchers, once all of it is in shards.
	keepLog = 32 << 10
)

// head is the content of a head. It is immutable once it is complete.
type head struct {
	ID       string                    `json:"id"`
	Revision state.Revision            `json:"revision"`        // of the last batch
	Sharded  state.Revision            `json:"sharded"`         // the shards contain everything up to this revision
	Since    state.Revision            `json:"since"`           // the log contains everything after this revision
	Terms    map[string]state.Revision `json:"terms,omitempty"` // number of the last term, by name
	Shards   []shard                   `json:"shards,omitempty"`

	log     []batch
	version string // of the Secret; "": it does not exist
}

// shard is a Secret with the entries from one key up to the first key of the next shard.
type shard struct {
	Name  string `json:"name"`
	From  []byte `json:"from,omitempty"`
	Bytes int    `json:"bytes"`
}

// batch is the content of one write, with packed values.
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

// entrySize is the approximate stored size of an entry, in bytes.
func entrySize(key string, value []byte) int { return len(key) + len(value) + 16 }

func (h *head) exists() bool { return h.version != "" }

// pending returns the batches that are not in the shards yet.
func (h *head) pending() []batch {
	i := slices.IndexFunc(h.log, func(b batch) bool { return b.at > h.Sharded })
	if i < 0 {
		return nil
	}
	return h.log[i:]
}

// newest returns the last operation on a key in the batches that are not in the shards yet.
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

// shardOf returns the index of the shard that contains a key, if any does, or -1.
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

// drop removes batches that are in the shards from the log, oldest first, until the log is
// at most that many bytes long. It keeps the newest batch if that fits in a head at all.
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

// logSize returns the total size of batches, in bytes.
func logSize(of []batch) int {
	size := 0
	for _, b := range of {
		size += b.size()
	}
	return size
}

// Data keys of a head's Secret.
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
		return nil, fmt.Errorf("the state is too large to be stored: %d shards", len(h.Shards))
	}
	return map[string][]byte{headKey: text, logKey: log}, nil
}

var errNoLog = errors.New("its log is damaged")

func readHead(version string, data map[string][]byte) (*head, error) {
	h := &head{version: version}
	if err := json.Unmarshal(data[headKey], h); err != nil {
		return nil, fmt.Errorf("it does not belong to xds-server: %w", err)
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
