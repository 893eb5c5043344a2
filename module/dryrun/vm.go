package dryrun

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"wasmxds/module/dryrun/meter"
)

// rootContext is the id of the plugin's context. The context of the VM itself has the id 0.
const rootContext = 1

// vm is one start of a module for a filter.
type vm struct {
	*trial
	host     *host
	instance api.Module
	failed   error // the reason why it trapped or was stopped
}

func newVM(t *trial) *vm {
	v := &vm{trial: t, host: &host{records: new(record), scopes: map[uint32]*scope{}}}
	v.host.left = new(int)
	*v.host.left = maxMade // a player replaces it by a limit for all VMs of a play
	v.host.scopes[0] = new(scope)
	v.host.scopes[rootContext] = &scope{id: rootContext}
	if t.Restricted {
		v.host.allow = append([]string{}, t.Allow...)
	}
	v.host.vm = v
	v.host.log.secret = t.Secret
	for _, name := range t.Unset {
		v.host.unserved("environment variable " + name)
	}
	return v
}

// start does what Envoy does to create a plugin (proxy-wasm-cpp-host: WasmBase::initialize,
// ContextBase::onStart and onConfigure). The caller closes the VM afterwards.
func (v *vm) start(ctx context.Context, runtime wazero.Runtime, code wazero.CompiledModule) error {
	ctx = context.WithValue(ctx, hostKey{}, v.host)
	v.host.ctx = ctx
	v.host.restricted = true
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions()
	instance, err := runtime.InstantiateModule(ctx, code, config)
	if err != nil {
		return v.trapped("instantiation", err)
	}
	v.instance = instance
	v.host.counter = instance.ExportedGlobal(meter.Counter)
	if v.export("malloc") == nil && v.export("proxy_on_memory_allocate") == nil {
		return refused("build it with a Proxy-Wasm SDK", "it exports neither malloc nor proxy_on_memory_allocate")
	}
	if err := v.boot(); err != nil {
		return err
	}
	v.host.restricted = false

	v.host.plugin = true
	if _, err := v.call("proxy_on_context_create", rootContext, 0); err != nil {
		return err
	}
	// The start of the VM does not concern a single plugin.
	v.host.plugin = false
	if err := v.ask("proxy_on_vm_start", len(v.vmConfig)); err != nil {
		return err
	}
	v.host.plugin = true
	err = v.ask("proxy_on_configure", len(v.config))
	v.host.plugin = false
	return err
}

// close releases its resources.
func (v *vm) close() {
	if v.instance != nil {
		_ = v.instance.Close(context.WithoutCancel(v.host.ctx)) // nothing is lost
	}
}

// boot runs the functions that initialize a module.
func (v *vm) boot() error {
	if v.export("_initialize") == nil {
		_, err := v.call("_start")
		return err
	}
	if _, err := v.call("_initialize"); err != nil {
		return err
	}
	var err error
	if v.export("main") != nil {
		_, err = v.call("main", 0, 0)
	} else {
		_, err = v.call("__main_void")
	}
	return err
}

// ask calls a callback that may return false.
func (v *vm) ask(name string, size int) error {
	results, err := v.call(name, rootContext, uint64(size))
	if err != nil {
		return err
	}
	if len(results) == 1 && uint32(results[0]) == 0 {
		return refused(v.hint(), "%s returned false%s", name, v.host.log.tail())
	}
	return nil
}

func (v *vm) export(name string) api.Function { return v.instance.ExportedFunction(name) }

// call calls an exported function for the plugin. It does nothing if the module does not
// export that.
func (v *vm) call(name string, args ...uint64) ([]uint64, error) {
	var s *scope
	if strings.HasPrefix(name, "proxy_") {
		s = v.host.scopes[rootContext]
	}
	results, _, err := v.enter(s, name, args...)
	v.host.replied = false
	v.host.runAfter()
	return results, err
}

// enter calls an exported function for one of the module's contexts. After an error,
// nothing is called any more.
func (v *vm) enter(s *scope, name string, args ...uint64) (results []uint64, found bool, err error) {
	f := v.export(name)
	if f == nil || strings.HasPrefix(name, "proxy_") && !v.calls(name) {
		return nil, false, nil
	}
	h := v.host
	running, effective := h.running, h.effective
	h.running, h.effective = s, 0
	defer func() { h.running, h.effective = running, effective }()
	done := h.records.called(v, name)
	results, err = f.Call(h.ctx, args...)
	done()
	if err != nil {
		v.failed = v.trapped(name, err)
	}
	return results, true, v.failed
}

func (v *vm) trapped(where string, err error) error {
	message, stack, _ := strings.Cut(err.Error(), "\n")
	message = strings.TrimPrefix(strings.TrimSuffix(message, " (recovered by wazero)"), "wasm error: ")
	if call, ok := errors.AsType[*restricted](err); ok {
		return refused("Envoy allows few host calls before proxy_on_context_create",
			"%s called %s, which Envoy answers by ending the module%s", where, call.name, v.host.log.tail())
	}
	if limit, ok := errors.AsType[*excess](err); ok {
		return refused("", "%s: %s", where, limit.reason)
	}
	err = refused(v.hint(), "%s trapped: %s%s%s", where, message, frames(stack), v.host.log.tail())
	if strings.Contains(message, "stack overflow") {
		return &tooMuch{err}
	}
	return err
}

// frames returns the functions of a stack trace, innermost first.
func frames(stack string) string {
	var names []string
	for line := range strings.Lines(stack) {
		name, _, isFrame := strings.Cut(strings.TrimSpace(line), "(")
		if isFrame && name != "" && len(names) < 3 {
			names = append(names, strings.TrimPrefix(name, "."))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf(" (in %.200s)", strings.Join(names, ", called by "))
}

func (v *vm) hint() string {
	if size := v.instance; size != nil && size.Memory() != nil && v.instance.Memory().Size() > 200<<20 {
		return "it may have run out of memory, of which a dry run has less than Envoy; verify: abi skips the dry run"
	}
	return "correct the filter or its configuration; only if Envoy can run it as it is, verify: abi skips the dry run"
}
