package etcd

import (
	"wasmxds/state"
	"wasmxds/state/packed"
)

const (
	// maxOps is the most operations of one transaction. The default limit of etcd is 128
	// (--max-txn-ops).
	maxOps = 100
	// maxBytes is their total size. The default limit of etcd for a request is 1.5 MiB
	// (--max-request-bytes).
	maxBytes = 1 << 20
)

// pack packs the values of ops and splits the ops into parts that each fit in one
// transaction. Of several ops with the same key, only the last remains.
func pack(ops []state.Op) ([][]state.Op, error) {
	ops, err := packed.Pack(ops, packed.Limit{Store: "etcd", Bytes: maxBytes})
	if err != nil {
		return nil, err
	}
	var parts [][]state.Op
	var part []state.Op
	size := 0
	for _, op := range ops {
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
