package packed

import (
	"bytes"
	"reflect"
	"testing"

	"wasmxds/state"
)

// FuzzUnpack checks that any content of a store is read or rejected, and that unpacking
// returns what was packed.
func FuzzUnpack(f *testing.F) {
	pack := func(b []byte) ([]byte, error) {
		ops, err := Pack([]state.Op{{Key: "key", Value: b}}, Limit{"a test", 1 << 20})
		if err != nil {
			return nil, err
		}
		return ops[0].Value, nil
	}
	for _, b := range [][]byte{nil, {0}, {1}, {2}, {1, 3, 0}, []byte(`{"a":1}`), bytes.Repeat([]byte("ab"), 5000)} {
		f.Add(b)
		packed, err := pack(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed)
		f.Add(AppendOps(nil, []state.Op{{Key: "a", Value: packed}, {Key: "b", Remove: true}}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if value, err := Unpack(b); err == nil && len(value) > maxValue {
			t.Errorf("%d bytes", len(value))
		}
		if packed, err := pack(b); err == nil {
			back, err := Unpack(packed)
			if err != nil || !bytes.Equal(back, b) {
				t.Errorf("%q came back as %q, %v", b, back, err)
			}
		}
		ops, err := Ops(b)
		if err != nil {
			return
		}
		again, err := Ops(AppendOps(nil, ops))
		if err != nil || len(again) != len(ops) || len(ops) > 0 && !reflect.DeepEqual(again, ops) {
			t.Errorf("%+v came back as %+v, %v", ops, again, err)
		}
	})
}
