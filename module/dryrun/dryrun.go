// Package dryrun starts a Proxy-Wasm module the way Envoy would for a filter,
// before any Envoy sees it: the reason why it can't be used is known at once,
// with what the module logged, and no Envoy has to try.
//
// Start with [New]. A [Runner] starts a module in a virtual machine of its
// own, within limits of time and memory, and calls it as Envoy does when it
// creates a plugin: _initialize (or _start), proxy_on_context_create,
// proxy_on_vm_start and proxy_on_configure with the filter's configurations.
// The host that it sees is written after the Proxy-Wasm specification
// (github.com/proxy-wasm/spec, ABI versions 0.1.0, 0.2.0 and 0.2.1) and
// answers like Envoy's while a plugin is configured.
//
// A dry run only finds fault where Envoy would. Where an answer depends on
// what only a real Envoy has (its node, its environment, Wasm features that
// the virtual machine here lacks), the module is let through: each Envoy
// tries it in its primer anyway.
package dryrun

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/tetratelabs/wazero"

	"wasmxds/definition"
	"wasmxds/module"
)

// Options are for [New]; only Store must be given.
type Options struct {
	Store *module.Store

	// Time is for one start, besides compiling; default 10 s.
	Time time.Duration
	// Memory of one module, in bytes; default 256 MiB (Envoy's limit is 1 GiB).
	Memory int64
	// Cached is how many bytes of memory modules may take that are kept ready
	// to start, so that a new configuration is tried within milliseconds;
	// default 192 MiB, enough for one filter written in Go or twenty in Rust.
	Cached int64

	// HostEnv names the variables of this process that a module may see where
	// its filter's hostEnv names them; the rest are as if they weren't set.
	HostEnv   []string
	LookupEnv func(string) (string, bool) // default os.LookupEnv
	Logger    *slog.Logger
}

// Runner tries modules. It is safe for concurrent use.
//
// A module is interpreted first: most start within milliseconds, while
// compiling a filter in Go takes over a second. Only one that computes for
// long, or recurses deeply, is compiled and started again.
type Runner struct {
	options            Options
	interpret, compile *engine
}

// quick is how long a module may be interpreted.
const quick = time.Second

// tooMuch is an error of a module that may do better compiled.
type tooMuch struct{ error }

func (t *tooMuch) Unwrap() error { return t.error }

// New makes a Runner, to be closed after use.
func New(ctx context.Context, options Options) (*Runner, error) {
	o := options
	if o.Time == 0 {
		o.Time = 10 * time.Second
	}
	if o.Memory == 0 {
		o.Memory = 256 << 20
	}
	if o.Cached == 0 {
		o.Cached = 192 << 20
	}
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{options: o}
	var err error
	if r.interpret, err = newEngine(ctx, wazero.NewRuntimeConfigInterpreter(), interpreted, o); err != nil {
		return nil, err
	}
	if r.compile, err = newEngine(ctx, wazero.NewRuntimeConfig(), native, o); err != nil {
		return nil, errors.Join(err, r.interpret.close(ctx))
	}
	return r, nil
}

// Close ends what still runs and frees all memory.
func (r *Runner) Close(ctx context.Context) error {
	if err := errors.Join(r.interpret.close(ctx), r.compile.close(ctx)); err != nil {
		return fmt.Errorf("close dry runs: %w", err)
	}
	return nil
}

// Key names all that the outcome depends on.
func (r *Runner) Key(f *definition.Filter, sum string) string { return r.inputs(f, sum).key() }

// Run tries a module of the store for a filter. A *[module.ContentError] says
// why Envoy could not use it; any other error, that it could not be tried or
// took too long.
func (r *Runner) Run(ctx context.Context, f *definition.Filter, m module.Info) error {
	config, err := plain(f.Config)
	if err != nil {
		return refused("", "config: %v", err)
	}
	vmConfig, err := plain(f.VMConfig)
	if err != nil {
		return refused("", "VM config: %v", err)
	}
	t := &trial{filter: f, module: m, config: config, vmConfig: vmConfig}
	t.env, t.unset = r.environment(f)
	err = r.try(ctx, r.interpret, min(quick, r.options.Time), t)
	if _, ok := errors.AsType[*tooMuch](err); ok {
		err = r.try(ctx, r.compile, r.options.Time, t)
	}
	if final, ok := errors.AsType[*tooMuch](err); ok {
		return final.error
	}
	return err
}

// trial is what is tried.
type trial struct {
	filter           *definition.Filter
	module           module.Info
	config, vmConfig []byte // as the module sees them
	env              map[string][]byte
	unset            []string // names of hostEnv that have no value here
}

func (r *Runner) try(ctx context.Context, e *engine, limit time.Duration, t *trial) error {
	code, err := e.modules.get(ctx, t.module.SHA256, func() ([]byte, error) { return r.read(t.module) })
	if inconclusive, ok := errors.AsType[*unsupported](err); ok {
		r.letThrough(t, inconclusive, nil)
		return nil
	} else if err != nil {
		return err
	}
	defer code.release()
	if inconclusive, err := checkLinks(code.module, t.module.ABI); err != nil || inconclusive {
		return err
	}
	vm := newVM(t)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = vm.start(limited, e.runtime, code.module)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limited.Err() != nil:
		return &tooMuch{fmt.Errorf("dry run: it has not started after %v%s", limit, vm.host.log.tail())}
	case err != nil && len(vm.host.missing) > 0:
		r.letThrough(t, err, vm.host.missing)
		return nil
	}
	return err
}

func (r *Runner) letThrough(t *trial, reason error, missing []string) {
	r.options.Logger.Info("module can only be tried by Envoys", "filter", t.filter.Name,
		"sha256", t.module.SHA256, "reason", reason, "asked for", missing)
}

func (r *Runner) read(m module.Info) ([]byte, error) {
	f, info, err := r.options.Store.Open(m.SHA256)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, info.Size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("read module %s: %w", m.SHA256, err)
	}
	return b, nil
}

// refused is the verdict that Envoy could not use the module.
func refused(hint, format string, args ...any) error {
	return &module.ContentError{Message: "dry run: " + fmt.Sprintf(format, args...), Hint: hint}
}
