package module

import "testing"

// TestUsed: what Envoys may fetch again stays in the store.
func TestUsed(t *testing.T) {
	r := New(Options{Store: newStore(t), Used: func() []string { return []string{"a"} }, Needed: func() []string { return []string{"b"} }})
	if named := (&resolution{Resolver: r}).named(); len(named) != 2 || !named["a"] || !named["b"] {
		t.Errorf("what stays is %v", named)
	}
}
