package dryrun

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/profile"
)

// status is the answer to a host call.
type status = abi.Status

const (
	ok              = abi.OK
	notFound        = abi.NotFound
	badArgument     = abi.BadArgument
	invalidMemory   = abi.InvalidMemory
	empty           = abi.Empty
	casMismatch     = abi.CasMismatch
	internalFailure = abi.InternalFailure
)

// host is what one module sees of its proxy.
type host struct {
	vm         *vm
	ctx        context.Context // of the run
	allow      []string        // host calls; nil: all
	restricted bool            // only what Envoy allows before a module has started
	plugin     bool            // the call is about the plugin, not the machine
	log        logged
	shared     shared
	declared   map[string]bool // properties, by name
	readonly   map[string]bool
	textual    map[string]bool // properties that are declared to be text
	exprs      expressions
	metrics    defined
	counter    api.Global        // of instructions; nil: they aren't counted
	profile    *profile.Recorder // nil: there is none
	callouts   callouts
	events     events
	calls      int // of functions, by now

	scopes    map[uint32]*scope // by id
	running   *scope            // whose callback runs; nil: the machine's
	effective uint32            // what the module made it be about; 0: running
	ending    bool              // the plugin ends, when it says that it has done
	after     []func()          // what is to be done when the callback has returned
	replied   bool              // it sent a local reply
	records   *record           // of what happens
	left      *int              // bytes that what it makes may take
	skipped   time.Duration     // that was not waited for
}

type hostKey struct{}

// count gives how many instructions there have been.
func (h *host) count() uint64 {
	if h.counter == nil {
		return 0
	}
	return h.counter.Get()
}

// unserved notes that the module asked for what only an Envoy has: what it
// does then says nothing about what it will do there.
func (h *host) unserved(what string) { h.records.miss(what) }

// restricted ends a module that makes a call which Envoy doesn't allow yet.
type restricted struct{ name string }

func (r *restricted) Error() string { return "call of " + r.name + " is restricted" }

// excess ends a module that takes more than one may.
type excess struct{ reason string }

func (e *excess) Error() string { return e.reason }

// maxCalls is how often a module may call its host from its start on: a filter
// makes some ten calls for a request.
const maxCalls = 20_000_000

// function is a function that Envoy gives to modules.
type function struct {
	module, name string
	params       string // i: i32, I: i64
	void         bool   // no result; else i32
	abi          string // "": every ABI
	early        bool   // allowed before the module has started
	do           func(h *host, m api.Module, a args) uint32
}

// args are the arguments of a call.
type args []uint64

func (a args) u32(i int) uint32 { return uint32(a[i]) }

// functions are all that modules may import.
func functions() []function {
	return slices.Concat(proxyCalls(), wasiCalls("wasi_snapshot_preview1"), wasiCalls("wasi_unstable"), []function{
		{module: "env", name: "pthread_equal", params: "ii", do: func(_ *host, _ api.Module, a args) uint32 {
			if a.u32(0) == a.u32(1) {
				return 1
			}
			return 0
		}},
		{module: "env", name: "emscripten_notify_memory_growth", params: "i", void: true, early: true, do: func(*host, api.Module, args) uint32 { return 0 }},
	})
}

// provide makes the functions importable.
func provide(ctx context.Context, runtime wazero.Runtime) error {
	builders := map[string]wazero.HostModuleBuilder{}
	for _, f := range functions() {
		b := builders[f.module]
		if b == nil {
			b = runtime.NewHostModuleBuilder(f.module)
			builders[f.module] = b
		}
		params, results := f.types()
		b.NewFunctionBuilder().WithGoModuleFunction(f, params, results).Export(f.name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f function) types() (params, results []api.ValueType) {
	for _, p := range f.params {
		if p == 'I' {
			params = append(params, api.ValueTypeI64)
		} else {
			params = append(params, api.ValueTypeI32)
		}
	}
	if !f.void {
		results = []api.ValueType{api.ValueTypeI32}
	}
	return params, results
}

// Call is what a module's call becomes.
func (f function) Call(ctx context.Context, m api.Module, stack []uint64) {
	h := ctx.Value(hostKey{}).(*host)
	if h.restricted && !f.early {
		panic(&restricted{f.name})
	}
	if h.vm.instance == nil {
		h.vm.instance = m // the module's start function runs
	}
	if h.calls++; h.calls > maxCalls {
		panic(&excess{fmt.Sprintf("more than %d host calls", maxCalls)})
	}
	var result uint32
	if f.module == "env" && h.allow != nil && !slices.Contains(h.allow, f.name) && f.abiCall() {
		h.log.add(warning, "call of "+f.name+", which the filter's allow list doesn't have")
		result = uint32(internalFailure)
	} else {
		result = f.do(h, m, stack)
	}
	if !f.void {
		stack[0] = uint64(result)
	}
}

// abiCall says whether a function is one of Proxy-Wasm's.
func (f function) abiCall() bool { return len(f.name) > 6 && f.name[:6] == "proxy_" }

// out allocates memory in the module and hands data over in it.
func (h *host) out(m api.Module, data []byte, pointer, size uint32) status {
	var address uint32
	if len(data) > 0 {
		var done bool
		if address, done = h.allocate(m, data); !done {
			return invalidMemory
		}
	}
	if !put32(m, pointer, address) || !put32(m, size, uint32(len(data))) {
		return invalidMemory
	}
	return ok
}

// allocate puts data into memory that the module gives for it.
func (h *host) allocate(m api.Module, data []byte) (address uint32, done bool) {
	malloc := m.ExportedFunction("malloc")
	if malloc == nil {
		malloc = m.ExportedFunction("proxy_on_memory_allocate")
	}
	if malloc == nil {
		return 0, false
	}
	results, err := malloc.Call(h.ctx, uint64(len(data)))
	if err != nil {
		panic(err)
	}
	if len(results) != 1 || uint32(results[0]) == 0 || !m.Memory().Write(uint32(results[0]), data) {
		return 0, false
	}
	return uint32(results[0]), true
}

func put32(m api.Module, pointer, value uint32) bool {
	return m.Memory() != nil && m.Memory().WriteUint32Le(pointer, value)
}

func put64(m api.Module, pointer uint32, value uint64) bool {
	return m.Memory() != nil && m.Memory().WriteUint64Le(pointer, value)
}

// in gives a view of the module's memory.
func in(m api.Module, pointer, size uint32) ([]byte, bool) {
	if m.Memory() == nil {
		return nil, false
	}
	return m.Memory().Read(pointer, size)
}
