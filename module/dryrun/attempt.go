package dryrun

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tetratelabs/wazero"

	"wasmxds/module"
)

// quick is how long a module may run in the interpreter.
const quick = time.Second

// sandbox tries modules in its own process. It interprets or compiles them, and creates the
// engine for each way when it is first needed.
type sandbox struct {
	interpret, compile *engine
}

// trial is a module, and all that its outcome depends on.
type trial struct {
	inputs
	abi              string
	config, vmConfig []byte // as the module gets them
}

// tooMuch is the error of a module that may pass if it is compiled.
type tooMuch struct{ error }

func (t *tooMuch) Unwrap() error { return t.error }

// try makes one attempt.
func (s *sandbox) try(ctx context.Context, r request, read func() ([]byte, error)) reply {
	l, err := s.load(ctx, r, read)
	if err != nil {
		return replyOf(err)
	}
	if r.Play != nil {
		return l.play(ctx, r)
	}
	vm := newVM(l.trial)
	defer vm.close()
	limited, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	before := cpuTime()
	err = vm.start(limited, l.engine.runtime, l.code.module)
	if limited.Err() != nil {
		return l.tooLate(vm, before)
	}
	return l.outcome(vm, r, err)
}

// loaded is a compiled module that can be started.
type loaded struct {
	trial  *trial
	engine *engine
	code   *compiled
	limit  time.Duration // on the time that everything together may take
}

// load compiles a module and checks what can be checked without running it.
func (s *sandbox) load(ctx context.Context, r request, read func() ([]byte, error)) (*loaded, error) {
	t := &trial{inputs: r.Inputs}
	var err error
	if t.config, err = plain(t.ConfigType, t.Config); err != nil {
		return nil, refused("", "config: %v", err)
	}
	if t.vmConfig, err = plain(t.VMConfigType, t.VMConfig); err != nil {
		return nil, refused("", "VM config: %v", err)
	}
	e, limit, err := s.engine(ctx, r)
	if err != nil {
		return nil, err
	}
	code, err := e.modules.get(ctx, t.SHA256, r.Play.how(), read)
	if err != nil {
		return nil, err
	}
	t.abi = code.abi
	if inconclusive, err := checkLinks(code.module, t.abi); err != nil || inconclusive {
		if err == nil {
			err = &unsupported{errors.New("it imports its memory")}
		}
		return nil, err
	}
	if err := checkExports(code.module, t); err != nil {
		return nil, err
	}
	return &loaded{t, e, code, limit}, nil
}

// tooLate returns the reply for a module that takes too long to start.
func (l *loaded) tooLate(vm *vm, before time.Duration) reply {
	return reply{
		Outcome: late, Message: fmt.Sprintf("dry run: it has not started after %v%s", l.limit, vm.host.log.tail()),
		Spent: cpuTime()-before > l.limit/2,
	}
}

// outcome returns the reply that says how a module has started.
func (l *loaded) outcome(vm *vm, r request, err error) reply {
	if again, ok := errors.AsType[*tooMuch](err); ok && r.Compile {
		err = again.error
	}
	answer := replyOf(err)
	if missing := vm.host.records.missing; err != nil && len(missing) > 0 {
		answer.Outcome, answer.Missing = unknown, missing
	}
	return answer
}

func (s *sandbox) engine(ctx context.Context, r request) (*engine, time.Duration, error) {
	e, limit, config, cost := &s.interpret, min(quick, r.Inputs.Time), wazero.NewRuntimeConfigInterpreter(), interpreted
	if r.Compile {
		e, limit, config, cost = &s.compile, r.Inputs.Time, wazero.NewRuntimeConfig(), native
	}
	var err error
	if *e == nil {
		*e, err = newEngine(ctx, config, cost, r.Inputs.Memory)
	}
	return *e, limit, err
}

// replyOf returns the reply for an attempt that ended with err.
func replyOf(err error) reply {
	if err == nil {
		return reply{Outcome: passed}
	}
	answer := reply{Outcome: broken, Message: err.Error()}
	if content, ok := errors.AsType[*module.ContentError](err); ok {
		answer.Outcome, answer.Message, answer.Hint = refusal, content.Message, content.Hint
	}
	if _, ok := errors.AsType[*unsupported](err); ok {
		answer.Outcome = unknown
	}
	if _, ok := errors.AsType[*tooMuch](err); ok {
		answer.Outcome = late
	}
	answer.Message = strings.ToValidUTF8(answer.Message[:min(len(answer.Message), maxMessage)], "…")
	return answer
}
