package etcd

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
	// maxOps is how many operations a transaction has; etcd takes 128
	// (--max-txn-ops).
	maxOps = 100
	// maxBytes is how large they are together; etcd takes requests of 1.5 MiB
	// (--max-request-bytes).
	maxBytes = 1 << 20
	// maxValue is how large a value may be before it is compressed.
	maxValue = 64 << 20
	// compressFrom is from which size on values are compressed: what is smaller
	// can be read by people.
	compressFrom = 4 << 10
)

// What a value begins with that is not there as it is.
const (
	quoted     = 0 // it is what follows
	compressed = 1 // it is what follows, by DEFLATE
)

// encoder encodes values as etcd has them.
type encoder struct {
	deflate *flate.Writer
	small   bytes.Buffer
}

func (e *encoder) encode(key string, value []byte) ([]byte, error) {
	if len(value) > maxValue {
		return nil, refused(key, len(value), maxValue)
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
	if limit := maxBytes - len(key); len(encoded) > limit {
		return nil, refused(key, len(encoded), limit)
	}
	return encoded, nil
}

func refused(key string, size, limit int) error {
	return &state.RefusedError{Key: key, Err: fmt.Errorf("it has %d bytes, and etcd takes %d", size, limit)}
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

// decode gives the value that etcd has as b.
func decode(b []byte) ([]byte, error) {
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

// pack encodes the values of ops, and parts these such that each part fits into a
// transaction. Of several of one key the last is left.
func pack(ops []state.Op) ([][]state.Op, error) {
	last := make(map[string]int, len(ops))
	for i, op := range ops {
		last[op.Key] = i
	}
	var e encoder
	var parts [][]state.Op
	var part []state.Op
	size := 0
	for i, op := range ops {
		if last[op.Key] != i {
			continue
		}
		if op.Remove {
			op.Value = nil
		} else {
			var err error
			if op.Value, err = e.encode(op.Key, op.Value); err != nil {
				return nil, err
			}
		}
		more := len(op.Key) + len(op.Value)
		if len(part) == maxOps || len(part) > 0 && size+more > maxBytes {
			parts, part, size = append(parts, part), nil, 0
		}
		part, size = append(part, op), size+more
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts, nil
}

// encodeOps gives operations as one value: of each a byte, 1 if it removes, then
// its key and its value, each behind its length.
func encodeOps(ops []state.Op) []byte {
	var b []byte
	for _, op := range ops {
		if op.Remove {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
		b = append(binary.AppendUvarint(b, uint64(len(op.Key))), op.Key...)
		b = append(binary.AppendUvarint(b, uint64(len(op.Value))), op.Value...)
	}
	return b
}

var errNoOps = errors.New("not the operations of a batch")

func decodeOps(b []byte) ([]state.Op, error) {
	var ops []state.Op
	for len(b) > 0 {
		if b[0] > 1 {
			return nil, errNoOps
		}
		op := state.Op{Remove: b[0] == 1}
		var key []byte
		var ok bool
		if key, b, ok = cutBytes(b[1:]); !ok {
			return nil, errNoOps
		}
		if op.Value, b, ok = cutBytes(b); !ok {
			return nil, errNoOps
		}
		op.Key = string(key)
		ops = append(ops, op)
	}
	return ops, nil
}

// cutBytes takes bytes behind their length from the front of b.
func cutBytes(b []byte) (front, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n], b[n:], true
}
