//go:build rust

package main

import "testing"

// TestRustFilters plays those of its Rust filters. They are built by make rust-filters.
func TestRustFilters(t *testing.T) { playFilters(t, "testdata/filters/rust") }
