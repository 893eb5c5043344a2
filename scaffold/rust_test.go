//go:build rust

package scaffold_test

import "testing"

// TestRustBuilds needs a Rust toolchain with a WASI target: go test -tags rust.
func TestRustBuilds(t *testing.T) {
	folder := newFilter(t, "rust")
	command(t, folder, "make", "test")
	makes(t, folder)
	tries(t, folder)
}
