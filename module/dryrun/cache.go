package dryrun

import (
	"bytes"
	"context"
	"fmt"
	"runtime/metrics"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"wasmxds/module"
	"wasmxds/module/dryrun/meter"
)

// cache keeps the compiled modules that were used last, up to a total size.
type cache struct {
	runtime wazero.Runtime
	cost    cost
	kept    []*compiled // most recently used first
}

// compiled is a module ready to be instantiated.
type compiled struct {
	module wazero.CompiledModule
	abi    string
	sha256 string
	how    how
	size   int64 // memory, in bytes
}

// how is which instrumentation a module is compiled with.
type how struct{ count, profile bool }

// cached limits the memory of compiled modules, in bytes. They are kept so that a new
// configuration is tried within milliseconds. It is enough for one filter written in Go, or
// for ten in Rust.
const cached = 96 << 20

// unsupported is the reason why a module can't be compiled here although Envoy may be able
// to run it: it uses newer instructions, needs more memory, or has an invalid custom
// section, which has no effect on its code.
type unsupported struct{ error }

// cost is about the least memory that a compiled module takes: bytes for each byte of the
// module, and for each module.
type cost struct{ perByte, each int64 }

// Measured with wazero 1.12: a module of 3.4 MB from Go, one of 190 KB from Rust, and many
// of 600 bytes.
var (
	interpreted = cost{22, 8 << 10}
	native      = cost{4, 16 << 10}
)

// get returns the compiled module, and compiles it if it is not in the cache. The result is
// valid until the next call.
func (c *cache) get(ctx context.Context, sha256 string, h how, read func() ([]byte, error)) (*compiled, error) {
	i := slices.IndexFunc(c.kept, func(m *compiled) bool { return m.sha256 == sha256 && m.how == h })
	if i >= 0 {
		m := c.kept[i]
		c.kept = slices.Insert(slices.Delete(c.kept, i, i+1), 0, m)
		return m, nil
	}
	b, err := read()
	if err != nil {
		return nil, err
	}
	contents, err := module.Inspect(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	before := heap()
	if h.count {
		if b, err = meter.Count(b); err != nil {
			return nil, fmt.Errorf("its instructions can't be counted: %w", err)
		}
	}
	if h.profile {
		ctx = experimental.WithFunctionListenerFactory(ctx, listeners{})
	}
	code, err := c.runtime.CompileModule(ctx, b)
	if err != nil {
		return nil, compileError(err)
	}
	m := &compiled{module: code, abi: contents.ABI, sha256: sha256, how: h}
	m.size = max(c.cost.each+c.cost.perByte*int64(len(b)), heap()-before)
	c.kept = slices.Insert(c.kept, 0, m)
	return m, c.trim(ctx)
}

// trim closes the modules that exceed the limit, but never the first one.
func (c *cache) trim(ctx context.Context) error {
	size := int64(0)
	for i, m := range c.kept {
		if size += m.size; i > 0 && size > cached {
			for _, old := range c.kept[i:] {
				if err := old.module.Close(ctx); err != nil {
					return err
				}
			}
			c.kept = slices.Delete(c.kept, i, len(c.kept))
			break
		}
	}
	return nil
}

// heap returns the number of bytes in use, including those that the garbage collector has
// not freed yet.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// compileError distinguishes invalid modules from those that use instructions that Envoy's
// virtual machine supports and wazero does not.
func compileError(err error) error {
	message, _, _ := strings.Cut(err.Error(), "\n")
	if strings.Contains(message, "disabled") || strings.Contains(message, "not supported") || strings.Contains(message, "over limit") ||
		strings.Contains(message, "custom section") {
		return &unsupported{err}
	}
	return &module.ContentError{
		Message: "dry run: it is not a valid Wasm module: " + message,
		Hint:    "if Envoy runs it nevertheless, verify: abi skips the dry run",
	}
}
