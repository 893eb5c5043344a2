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

// status is the result of a host call.
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

// host is the proxy, as one module sees it.
type host struct {
	vm         *vm
	ctx        context.Context // of the run
	allow      []string        // allowed host calls; nil: all
	restricted bool            // only calls that Envoy allows before a module has started
	plugin     bool            // the call concerns the plugin, not the VM
	log        logged
	shared     shared
	declared   map[string]bool // declared properties, by name
	readonly   map[string]bool
	textual    map[string]bool // properties that are declared as text
	exprs      expressions
	metrics    defined
	counter    api.Global        // instructions; nil: not counted
	profile    *profile.Recorder // nil: no profile is taken
	callouts   callouts
	events     events
	calls      int // number of calls so far

	scopes    map[uint32]*scope // by id
	running   *scope            // whose callback runs; nil: the VM's
	effective uint32            // context that the module has set; 0: running
	ending    bool              // the plugin ends as soon as it says that it is done
	after     []func()          // to run when the callback has returned
	replied   bool              // it sent a local reply
	records   *record           // what has happened
	left      *int              // bytes that the module may still create
	skipped   time.Duration     // time that was skipped instead of waited for
}

type hostKey struct{}

// count returns the number of instructions so far.
func (h *host) count() uint64 {
	if h.counter == nil {
		return 0
	}
	return h.counter.Get()
}

// unserved records that the module asked for something that only an Envoy has. What the
// module does next says nothing about what it will do on an Envoy.
func (h *host) unserved(what string) { h.records.miss(what) }

// restricted is the panic of a module that makes a call before Envoy allows it.
type restricted struct{ name string }

func (r *restricted) Error() string { return "call of " + r.name + " is restricted" }

// excess is the panic of a module that exceeds a limit.
type excess struct{ reason string }

func (e *excess) Error() string { return e.reason }

// maxCalls limits the host calls of a module, counted from its start. A filter makes about
// ten for each request.
const maxCalls = 20_000_000

// function is a host function that modules may import.
type function struct {
	module, name string
	params       string // one letter each: i is i32, I is i64
	void         bool   // no result; otherwise i32
	abi          string // ABI version; "": all
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

// provide makes the functions available for import.
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

// Call runs a host call of the module.
func (f function) Call(ctx context.Context, m api.Module, stack []uint64) {
	h := ctx.Value(hostKey{}).(*host)
	if h.restricted && !f.early {
		panic(&restricted{f.name})
	}
	if h.vm.instance == nil {
		h.vm.instance = m // the start function of the module is running
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

// abiCall reports whether a function belongs to Proxy-Wasm.
func (f function) abiCall() bool { return len(f.name) > 6 && f.name[:6] == "proxy_" }

// out allocates memory in the module and copies data there.
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

// allocate copies data into memory that the module allocates for it.
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

// in returns a view of the module's memory.
func in(m api.Module, pointer, size uint32) ([]byte, bool) {
	if m.Memory() == nil {
		return nil, false
	}
	return m.Memory().Read(pointer, size)
}
