package etcd

import (
	"testing"

	"wasmxds/state"
)

// TestPack checks that packing loses and reorders nothing, and that each part fits.
func TestPack(t *testing.T) {
	noise := make([]byte, 700<<10)
	for i := range noise {
		noise[i] = byte(i*i>>3 ^ i*7)
	}
	ops := []state.Op{{Key: "a", Value: []byte("old")}, {Key: "big1", Value: noise}, {Key: "big2", Value: noise[1:]}, {Key: "a", Remove: true}}
	for i := range 3 * maxOps {
		ops = append(ops, state.Op{Key: string(rune('à' + i)), Value: []byte("x")})
	}
	parts, err := pack(ops)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, part := range parts {
		size := 0
		for _, op := range part {
			if seen[op.Key] {
				t.Errorf("%s comes twice", op.Key)
			}
			seen[op.Key] = true
			size += len(op.Key) + len(op.Value)
			if op.Key == "a" && !op.Remove {
				t.Error("a is not removed")
			}
		}
		if len(part) > maxOps || size > maxBytes {
			t.Errorf("a part has %d operations, %d bytes", len(part), size)
		}
	}
	if len(seen) != len(ops)-1 {
		t.Errorf("%d keys", len(seen))
	}
}
