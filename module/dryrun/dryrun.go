// Package dryrun starts a Proxy-Wasm module as Envoy would for a filter, before
// any Envoy sees the module. If the module can't be used, the reason is known at
// once, with what the module logged.
//
// Start with [New]. A [Runner] starts modules in separate processes ([Sandbox]),
// with limits on time and memory. It makes the calls that Envoy makes to create a
// plugin: _initialize (or _start), proxy_on_context_create, proxy_on_vm_start and
// proxy_on_configure with the filter's configurations. The host implements the
// Proxy-Wasm specification (github.com/proxy-wasm/spec, ABI versions 0.1.0, 0.2.0
// and 0.2.1) and answers as Envoy does while it configures a plugin.
//
// A dry run rejects only what Envoy would reject, and what takes more time or
// memory than the start of a filter may take. If the result depends on what only
// a real Envoy has (its node, its environment, Wasm features that the virtual
// machine here lacks), the module passes, because each Envoy tries it in its
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

// Options are the options of [New]. Store and Command are required.
type Options struct {
	Store *module.Store
	// Command starts a process that calls [Sandbox] with its standard input and
	// output. It is the path of a program, followed by its arguments from the zeroth on.
	Command []string
	// State keeps, across restarts, which trials ended their process. If it is
	// nil, this is not kept.
	State *state.Writer

	// Time limits one start, without compilation. The default is 10 s.
	Time time.Duration
	// Memory limits the memory of one module, in bytes. The default is 256 MiB
	// (Envoy's limit is 1 GiB).
	Memory int64
	// AtOnce is how many modules are tried at the same time, in addition to one
	// that takes long. The default is the number of CPUs, at most 4.
	AtOnce int

	// HostEnv names the environment variables of this process that a module may
	// see if its filter's hostEnv names them, too. To a module, no others are set.
	HostEnv   []string
	LookupEnv func(string) (string, bool) // default os.LookupEnv
	Logger    *slog.Logger
}

// Runner tries modules. It is safe for concurrent use.
//
// A module is interpreted first, because most start within milliseconds, while
// compiling a filter in Go takes over a second. A module that takes long, or
// recurses deeply, is compiled and started again. Only one is compiled at a time,
// and the others do not wait for it.
type Runner struct {
	options Options
	blame   *blame
	pool    *pool
	places  *semaphore.Weighted // for modules that are interpreted
	long    *semaphore.Weighted // for one that is compiled
}

// New returns a Runner. The caller must close it. When ctx ends, the Runner gives
// up what it is trying, and tries nothing more.
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

// Key identifies everything that the outcome depends on.
func (r *Runner) Key(f *definition.Filter, sum string) string { return r.inputs(f, sum).key() }

// Run tries a module of the store for a filter. A *[module.ContentError] says
// why Envoy could not use it. Any other error means that it could not be tried,
// or not in time.
func (r *Runner) Run(ctx context.Context, f *definition.Filter, m module.Info) error {
	t := tried{in: r.inputs(f, m.SHA256)}
	t.key = t.in.key()
	answer, err := r.judge(ctx, &t, request{Inputs: t.in})
	if err != nil {
		return err
	}
	return r.verdict(t, answer)
}

// judge tries a module, and tries it again if that may help.
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
	strikes int // from earlier trials
}

// attempt tries a module once.
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
	// CPU time is limited as well. The deadline only ends what a busy machine does not get done.
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

// patience is the time for a process to start and to receive a module, on a busy machine.
const patience = 10 * time.Second

// verdict returns what follows from an answer.
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

// sentence returns what follows from the end of a process that tried only this
// module.
func (r *Runner) sentence(t tried, end *died) error {
	r.options.Logger.Warn("dry run ended its process", "filter", t.in.Name, "sha256", t.in.SHA256, "state", end.state, "error", end.err, "stderr", end.stderr.line())
	budget := 2 * r.options.Time
	code, killed := end.state.ExitCode(), end.signal()
	switch {
	case code == exitCPU, killed == syscall.SIGKILL && end.used() >= budget/2:
		return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: %v of CPU time are not enough to compile and start it", budget))
	case end.late:
		return fmt.Errorf("dry run: it was cut off after %v of CPU time: the machine is busy", end.used().Round(time.Millisecond))
	case killed == syscall.SIGKILL: // by another process, perhaps because memory ran out
		r.blame.strike(t.key, t.in, t.strikes+1)
		return cmp.Or(r.blame.verdict(t.key), error(end))
	case code == exitMemory, end.stderr.contains("out of memory"), end.stderr.contains("cannot allocate memory"),
		end.stderr.contains("ThreadSanitizer failed to allocate"), // in tests with the race detector
		end.stderr.contains("pthread_create failed"), end.stderr.contains("new OS thread"):
		return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: it takes more than %d MiB of memory to compile and start it", Room>>20))
	}
	return r.blame.convict(t.key, t.in, fmt.Sprintf("dry run: it ends the process that tries it (%v)", end.state))
}

// refused returns the verdict that Envoy could not use the module.
func refused(hint, format string, args ...any) error {
	return &module.ContentError{Message: "dry run: " + fmt.Sprintf(format, args...), Hint: hint}
}
