package dryrun

import (
	"container/list"
	"context"
	"strings"
	"sync"

	"github.com/tetratelabs/wazero"

	"wasmxds/module"
)

// cache keeps compiled modules, the last used ones up to a size.
type cache struct {
	runtime wazero.Runtime
	limit   int64 // bytes of memory, as cost gives them
	cost    cost

	mu       sync.Mutex
	size     int64
	compiled map[string]*compiled
	recent   *list.List // of *compiled, those used last in front
}

// compiled is a module ready to be instantiated. It is closed once it is
// neither in the cache nor in use.
type compiled struct {
	cache  *cache
	ready  chan struct{} // closed when module or err is set
	module wazero.CompiledModule
	err    error

	sha256 string
	size   int64 // 0 while it is being compiled
	users  int   // and one for being in the cache
	place  *list.Element
}

// unsupported is why a module can't be compiled here though Envoy may well
// run it: it has newer instructions, wants more memory, or has a section that
// says nothing about its code.
type unsupported struct{ error }

// cost is about what a compiled module takes: bytes for each byte of the
// module, and for each module.
type cost struct{ perByte, each int64 }

// What modules took in wazero 1.12: one of 3.4 MB from Go, one of 190 KB from
// Rust, and many of 600 bytes.
var (
	interpreted = cost{22, 8 << 10}
	native      = cost{4, 16 << 10}
)

func newCache(runtime wazero.Runtime, limit int64, cost cost) *cache {
	return &cache{runtime: runtime, limit: limit, cost: cost, compiled: map[string]*compiled{}, recent: list.New()}
}

// get compiles a module, unless it was or is being compiled. The result must
// be released.
func (c *cache) get(ctx context.Context, sha256 string, read func() ([]byte, error)) (*compiled, error) {
	c.mu.Lock()
	m := c.compiled[sha256]
	if m == nil {
		m = &compiled{cache: c, sha256: sha256, ready: make(chan struct{}), users: 2}
		m.place = c.recent.PushFront(m)
		c.compiled[sha256] = m
		c.mu.Unlock()
		m.compile(ctx, read)
	} else {
		m.users++
		c.recent.MoveToFront(m.place)
		c.mu.Unlock()
	}
	<-m.ready // compiling can't be interrupted
	if m.err != nil {
		m.release()
		return nil, m.err
	}
	return m, nil
}

func (m *compiled) compile(ctx context.Context, read func() ([]byte, error)) {
	defer close(m.ready)
	b, err := read()
	if err == nil {
		m.module, err = m.cache.runtime.CompileModule(context.WithoutCancel(ctx), b)
		if err != nil {
			err = compileError(err)
		}
	}
	m.err = err
	c := m.cache
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.drop(m)
		return
	}
	m.size = c.cost.each + c.cost.perByte*int64(len(b))
	c.size += m.size
	for place := c.recent.Back(); place != nil && c.size > c.limit; {
		old := place.Value.(*compiled)
		place = place.Prev()
		if old != m && old.size > 0 { // those being compiled come here themselves
			c.drop(old)
		}
	}
}

// drop takes a module out of the cache.
func (c *cache) drop(m *compiled) {
	c.recent.Remove(m.place)
	delete(c.compiled, m.sha256)
	c.size -= m.size
	m.unuse()
}

func (m *compiled) release() {
	m.cache.mu.Lock()
	defer m.cache.mu.Unlock()
	m.unuse()
}

func (m *compiled) unuse() {
	if m.users--; m.users == 0 && m.module != nil {
		// It has no resources whose release can fail but the code's memory.
		_ = m.module.Close(context.Background())
	}
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
		Message: "dry run: it is no valid Wasm module: " + message,
		Hint:    "if Envoy runs it nevertheless, verify: abi leaves out the dry run",
	}
}
