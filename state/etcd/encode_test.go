package etcd

import (
	"bytes"
	"reflect"
	"testing"

	"wasmxds/state"
)

// FuzzDecode: whatever lies in etcd is read or refused, and what was encoded comes
// back.
func FuzzDecode(f *testing.F) {
	for _, b := range [][]byte{nil, {0}, {1}, {2}, {1, 3, 0}, []byte(`{"a":1}`), bytes.Repeat([]byte("ab"), 5000)} {
		f.Add(b)
		var e encoder
		encoded, err := e.encode("key", b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
		f.Add(encodeOps([]state.Op{{Key: "a", Value: encoded}, {Key: "b", Remove: true}}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if value, err := decode(b); err == nil && len(value) > maxValue {
			t.Errorf("%d bytes", len(value))
		}
		var e encoder
		if encoded, err := e.encode("key", b); err == nil {
			back, err := decode(encoded)
			if err != nil || !bytes.Equal(back, b) {
				t.Errorf("%q came back as %q, %v", b, back, err)
			}
		}
		ops, err := decodeOps(b)
		if err != nil {
			return
		}
		again, err := decodeOps(encodeOps(ops))
		if err != nil || len(again) != len(ops) || len(ops) > 0 && !reflect.DeepEqual(again, ops) {
			t.Errorf("%+v came back as %+v, %v", ops, again, err)
		}
	})
}

// TestPack: nothing of a batch is lost or comes too early, and each part fits.
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
