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

// cache keeps compiled modules, the last used ones up to a size.
type cache struct {
	runtime wazero.Runtime
	cost    cost
	kept    []*compiled // those used last in front
}

// compiled is a module ready to be instantiated.
type compiled struct {
	module wazero.CompiledModule
	abi    string
	sha256 string
	how    how
	size   int64 // bytes of memory
}

// how says what a module is compiled to tell.
type how struct{ count, profile bool }

// cached is how many bytes of memory modules may take that are kept ready to
// start, so that a new configuration is tried within milliseconds: enough for
// one filter written in Go or ten in Rust.
const cached = 96 << 20

// unsupported is why a module can't be compiled here though Envoy may well
// run it: it has newer instructions, wants more memory, or has a section that
// says nothing about its code.
type unsupported struct{ error }

// cost is about what a compiled module takes at least: bytes for each byte of
// the module, and for each module.
type cost struct{ perByte, each int64 }

// What modules took in wazero 1.12: one of 3.4 MB from Go, one of 190 KB from
// Rust, and many of 600 bytes.
var (
	interpreted = cost{22, 8 << 10}
	native      = cost{4, 16 << 10}
)

// get compiles a module, unless it is kept. The result is good until the next
// call.
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

// trim closes what there is no room for. The one in front always stays.
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

// heap gives the bytes that are in use, or were until lately.
func heap() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}

// compileError tells invalid modules from those with instructions that
// Envoy's virtual machine has and ours lacks.
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
