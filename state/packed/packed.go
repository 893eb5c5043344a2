// Package packed encodes values and batches as bytes, for stores with size limits.
//
// Large values are compressed. A small value that does not look as if it were packed stays
// as it is, so that people can read it.
package packed

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"wasmxds/state"
)

const (
	// maxValue is the largest size of a value before compression, in bytes.
	maxValue = 64 << 20
	// compressFrom is the size from which values are compressed, in bytes.
	compressFrom = 4 << 10
)

// The first byte of a value that is not stored as it is.
const (
	quoted     = 0 // the value follows
	compressed = 1 // the value follows, compressed with DEFLATE
)

// Limit is the largest size of one entry, its key and its packed value, in a store.
type Limit struct {
	Store string // for people
	Bytes int
}

// Pack packs the values of ops. Of several ops with the same key, only the last remains. It
// returns a *state.RefusedError for an entry that the store can't accept.
func Pack(ops []state.Op, limit Limit) ([]state.Op, error) {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	e := encoder{limit: limit}
	all := make([]state.Op, 0, len(last))
	for i, op := range ops {
		if last[op.Key] != i {
			continue
		}
		var value []byte
		if !op.Remove {
			var err error
			if value, err = e.encode(op.Key, op.Value); err != nil {
				return nil, err
			}
		}
		all = append(all, state.Op{Key: op.Key, Value: value, Remove: op.Remove})
	}
	return all, nil
}

type encoder struct {
	limit   Limit
	deflate *flate.Writer
	small   bytes.Buffer
}

func (e *encoder) encode(key string, value []byte) ([]byte, error) {
	if len(value) > maxValue {
		return nil, e.refused(key, len(value), maxValue)
	}
	encoded := value
	if len(value) > 0 && value[0] <= compressed {
		encoded = append([]byte{quoted}, value...)
	}
	if len(value) >= compressFrom {
		small, err := e.compress(value)
		if err != nil {
			return nil, fmt.Errorf("compress %s: %w", key, err)
		}
		if len(small) < len(encoded) {
			encoded = small
		}
	}
	if most := e.limit.Bytes - len(key); len(encoded) > most {
		return nil, e.refused(key, len(encoded), most)
	}
	return encoded, nil
}

func (e *encoder) refused(key string, size, most int) error {
	return &state.RefusedError{Key: key, Err: fmt.Errorf("it has %d bytes; the limit of %s is %d", size, e.limit.Store, most)}
}

func (e *encoder) compress(value []byte) ([]byte, error) {
	e.small.Reset()
	e.small.WriteByte(compressed)
	if e.deflate == nil {
		var err error
		if e.deflate, err = flate.NewWriter(&e.small, flate.DefaultCompression); err != nil {
			return nil, err
		}
	} else {
		e.deflate.Reset(&e.small)
	}
	if _, err := e.deflate.Write(value); err != nil {
		return nil, err
	}
	if err := e.deflate.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(e.small.Bytes()), nil
}

// Unpack returns the value that was packed as b.
func Unpack(b []byte) ([]byte, error) {
	switch {
	case len(b) == 0 || b[0] > compressed:
		return b, nil
	case b[0] == quoted:
		return b[1:], nil
	}
	value, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b[1:])), maxValue+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read a compressed value: %w", err)
	case len(value) > maxValue:
		return nil, fmt.Errorf("a compressed value has more than %d bytes", maxValue)
	}
	return value, nil
}

// AppendOps appends operations to b: for each one a byte, 1 for a removal, then key and
// value, each preceded by its length.
func AppendOps(b []byte, ops []state.Op) []byte {
	for _, op := range ops {
		if op.Remove {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = AppendBytes(AppendBytes(b, []byte(op.Key)), op.Value)
	}
	return b
}

// AppendBytes appends more to b, preceded by its length.
func AppendBytes(b, more []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(more))), more...)
}

var errNoOps = errors.New("not the operations of a batch")

// Ops decodes the output of AppendOps.
func Ops(b []byte) ([]state.Op, error) {
	var ops []state.Op
	for len(b) > 0 {
		if b[0] > 1 {
			return nil, errNoOps
		}
		op := state.Op{Remove: b[0] == 1}
		var key []byte
		var ok bool
		if key, b, ok = CutBytes(b[1:]); !ok {
			return nil, errNoOps
		}
		if op.Value, b, ok = CutBytes(b); !ok {
			return nil, errNoOps
		}
		op.Key = string(key)
		ops = append(ops, op)
	}
	return ops, nil
}

// CutBytes cuts bytes that are preceded by their length from the front of b.
func CutBytes(b []byte) (front, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n:n], b[n:], true
}
