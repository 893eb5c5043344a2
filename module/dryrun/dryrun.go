// Package dryrun starts a Proxy-Wasm module the way Envoy would for a filter,
// before any Envoy sees it: the reason why it can't be used is known at once,
// with what the module logged, and no Envoy has to try.
//
// Start with [New]. A [Runner] has a module started in a process of its own
// ([Sandbox]), within limits of time and memory, and called as Envoy does when
// it creates a plugin: _initialize (or _start), proxy_on_context_create,
// proxy_on_vm_start and proxy_on_configure with the filter's configurations.
// The host that it sees is written after the Proxy-Wasm specification
// (github.com/proxy-wasm/spec, ABI versions 0.1.0, 0.2.0 and 0.2.1) and
// answers like Envoy's while a plugin is configured.
//
// A dry run only finds fault where Envoy would, or with what takes more time
// or memory than a filter's start may. Where an answer depends on what only a
// real Envoy has (its node, its environment, Wasm features that the virtual
// machine here lacks), the module is let through: each Envoy tries it in its
// primer anyway.
package dryrun

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/state"
)

// Options are for [New]; Store and Command must be given.
type Options struct {
	Store *module.Store
	// Command starts a process that calls [Sandbox] with its standard input and
	// output: a program's path and then its arguments, the zeroth included.
	Command []string
	// State keeps, across restarts, which trials ended their process; nil: that
	// isn't kept.
	State *state.Writer

	// Time is for one start, besides compiling; default 10 s.
	Time time.Duration
	// Memory of one module, in bytes; default 256 MiB (Envoy's limit is 1 GiB).
	Memory int64
	// AtOnce is how many modules are tried at the same time, and one more of
	// those that take long; default the number of CPUs, at most 4.
	AtOnce int

	// HostEnv names the variables of this process that a module may see where
	// its filter's hostEnv names them; the rest are as if they weren't set.
	HostEnv   []string
	LookupEnv func(string) (string, bool) // default os.LookupEnv
	Logger    *slog.Logger
}

// Runner tries modules. It is safe for concurrent use.
//
// A module is interpreted first: most start within milliseconds, while
// compiling a filter in Go takes over a second. One that takes long then, or
// recurses deeply, is compiled and started again; those wait for each other,
// and hold up no others.
type Runner struct {
	options Options
	blame   *blame
	pool    *pool
	places  *semaphore.Weighted // for modules that are interpreted
	long    *semaphore.Weighted // for one that is compiled
}

// New makes a Runner, to be closed after use. When ctx ends, what is being
// tried is given up, and nothing is tried any more.
func New(ctx context.Context, options Options) *Runner {
	o := options
	o.Time = cmp.Or(o.Time, 10*time.Second)
	o.Memory = cmp.Or(o.Memory, 256<<20)
	o.AtOnce = cmp.Or(o.AtOnce, min(4, runtime.GOMAXPROCS(0)))
	if o.LookupEnv == nil {
		o.LookupEnv = os.LookupEnv
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		options: o,
		blame:   newBlame(ctx, o.State.View("trials/"), o.Logger),
		pool:    newPool(ctx, o.Command, o.AtOnce),
		places:  semaphore.NewWeighted(int64(o.AtOnce)),
		long:    semaphore.NewWeighted(1),
	}
}

// Close ends all processes.
func (r *Runner) Close() { r.pool.close() }

// Key names all that the outcome depends on.
func (r *Runner) Key(f *definition.Filter, sum string) string { return r.inputs(f, sum).key() }

// Run tries a module of the store for a filter. A *[module.ContentError] says
// why Envoy could not use it; any other error, that it could not be tried or
// that there was no time for it.
func (r *Runner) Run(ctx context.Context, f *definition.Filter, m module.Info) error {
	t := tried{in: r.inputs(f, m.SHA256)}
	t.key = t.in.key()
	answer, err := r.judge(ctx, &t, request{Inputs: t.in})
	if err != nil {
		return err
	}
	return r.verdict(t, answer)
}

// judge has a module tried, and tried again where that may help.
func (r *Runner) judge(ctx context.Context, t *tried, q request) (reply, error) {
	if err := r.blame.verdict(t.key); err != nil {
		return reply{}, err
	}
	t.strikes = r.blame.strikes(t.key)
	q.CPU = 3 * quick
	answer, err := r.attempt(ctx, *t, q)
	_, cutOff := errors.AsType[*died](err)
	if ctx.Err() == nil && (cutOff || err == nil && answer.Outcome == late) {
		q.CPU, q.Compile = 2*r.options.Time, true
		answer, err = r.attempt(ctx, *t, q)
	}
	if ctx.Err() != nil {
		return reply{}, ctx.Err()
	}
	if end, ok := errors.AsType[*died](err); ok {
		return reply{}, r.sentence(*t, end)
	}
	if err == nil {
		r.blame.strike(t.key, t.in, 0)
	}
	return answer, err
}

// tried is what is being tried.
type tried struct {
	in      inputs
	key     string
	strikes int // before
}

// attempt has a module tried once.
func (r *Runner) attempt(ctx context.Context, t tried, q request) (reply, error) {
	places := r.places
	if q.Compile {
		places = r.long
	}
	if err := places.Acquire(ctx, 1); err != nil {
		return reply{}, err
	}
	defer places.Release(1)
	p, err := r.pool.take(ctx, q.Compile)
	if err != nil {
		return reply{}, err
	}
	// The deadline is for a machine that is busy: CPU time is limited as well.
	limited, cancel := context.WithTimeout(ctx, patience+3*q.CPU)
	defer cancel()
	r.blame.begin(ctx, t.key, t.in, t.strikes, q.Compile)
	answer, err := p.try(limited, q, func() (io.ReadCloser, int64, error) {
		f, info, err := r.options.Store.Open(t.in.SHA256)
		return f, info.Size, err
	})
	r.blame.strike(t.key, t.in, t.strikes)
	if err == nil {
		r.pool.give(p, answer.Crowded || q.Compile)
	} else if r.pool.hasEnded() {
		<-ctx.Done()
		return reply{}, errEnded
	}
	return answer, err
}

// patience is for a process to start and to take a module, on a busy machine.
const patience = 10 * time.Second

// verdict is what follows from an answer.
func (r *Runner) verdict(t tried, answer reply) error {
	switch answer.Outcome {
	case passed:
		return nil
	case unknown:
		r.options.Logger.Info("module can only be tried by Envoys", "filter", t.in.Name,
			"sha256", t.in.SHA256, "reason", answer.Message, "asked for", answer.Missing)
		return nil
	case refusal:
		return &module.ContentError{Message: answer.Message, Hint: answer.Hint}
	case late:
		if answer.Spent {
			return r.blame.convict(t.key, t.in, answer.Message)
		}
	}
	return errors.New(answer.Message)
}

// sentence is what follows from the end of a process that had but this module
// to try.
func (r *Runner) sentence(t tried, end *died) error {
	r.options.Logger.Warn("dry run ended its process", "filter", t.in.Name, "sha256", t.in.SHA256, "state", end.state, "error", end.err, "stderr", end.stderr.line())
	budget := 2 * r.options.Time
	code, killed := end.state.ExitCode(), end.signal()
	switch {
	case code == exitCPU, killed == syscall.SIGKILL && end.used() >= budget/2:
		return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: %v of CPU time are not enough to compile and start it", budget))
	case end.late:
		return fmt.Errorf("dry run: it was cut off after %v of CPU time: the machine is busy", end.used().Round(time.Millisecond))
	case killed == syscall.SIGKILL: // by somebody else, who may have had a reason
		r.blame.strike(t.key, t.in, t.strikes+1)
		return cmp.Or(r.blame.verdict(t.key), error(end))
	case code == exitMemory, end.stderr.contains("out of memory"), end.stderr.contains("cannot allocate memory"),
		end.stderr.contains("ThreadSanitizer failed to allocate"), // of a test with the race detector
		end.stderr.contains("pthread_create failed"), end.stderr.contains("new OS thread"):
		return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: it takes more than %d MiB of memory to compile and start it", Room>>20))
	}
	return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: it ends the process that tries it (%v)", end.state))
}

// refused is the verdict that Envoy could not use the module.
func refused(hint, format string, args ...any) error {
	return &module.ContentError{Message: "dry run: " + fmt.Sprintf(format, args...), Hint: hint}
}
