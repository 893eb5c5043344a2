package main

import (
	"slices"
	"testing"

	"wasmxds/xds"
)

// TestSwapsWaitForTheirChange has Envoys swap before the change is told.
func TestSwapsWaitForTheirChange(t *testing.T) {
	var told []string
	s := &swaps{to: func(w xds.Swap) { told = append(told, w.Node) }}
	s.Swapped(xds.Swap{Node: "before"})
	end := s.wait()
	s.Swapped(xds.Swap{Node: "first"})
	s.Swapped(xds.Swap{Node: "second"})
	told = append(told, "change")
	end()
	s.Swapped(xds.Swap{Node: "after"})
	if want := []string{"before", "change", "first", "second", "after"}; !slices.Equal(told, want) {
		t.Errorf("%v, want %v", told, want)
	}
}
