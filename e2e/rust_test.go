//go:build rust

package e2e

import "testing"

// TestRust runs the filters of examples/rust, for which it takes a Rust
// toolchain with a WASI target: go test -tags rust.
func TestRust(t *testing.T) {
	modules := t.TempDir()
	build(t, "examples/rust/build.sh", modules)
	t.Run("header", func(t *testing.T) { headerExample(t, modules, "rust/definitions", "rust-header") })
	t.Run("correlation", func(t *testing.T) {
		correlationExample(t, modules, "rust/definitions", "rust-correlation")
	})
}
