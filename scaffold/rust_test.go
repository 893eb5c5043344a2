//go:build rust

package scaffold_test

import "testing"

// TestRustBuilds needs a Rust toolchain with a WASI target: go test -tags rust.
func TestRustBuilds(t *testing.T) {
	folder := newFilter(t, "rust")
	t.Setenv("CARGO_TARGET_DIR", t.TempDir()) // as many developers have it
	command(t, folder, "make", "test")
	makes(t, folder)
	tries(t, folder)
}
