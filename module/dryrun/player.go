package dryrun

import (
	"context"
	"fmt"
	"strings"

	"wasmxds/definition"
	"wasmxds/module/dryrun/stream"
)

// player plays streams through a module, in the process apart.
type player struct {
	*loaded
	play *played
	ctx  context.Context
	vm   *vm
	out  Played
	last uint32 // id of a context
}

// play starts the module and plays all streams.
func (l *loaded) play(ctx context.Context, r request) reply {
	limited, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	p := &player{loaded: l, play: r.Play, ctx: limited, last: rootContext}
	before := cpuTime()
	err := p.start()
	defer func() { p.vm.close() }()
	switch {
	case limited.Err() != nil:
		return l.tooLate(p.vm, before)
	case err != nil:
		return l.outcome(p.vm, r, err)
	}
	p.out.Start = p.vm.host.records.told()
	for _, s := range r.Play.Streams {
		p.out.Streams = append(p.out.Streams, p.one(s))
		if limited.Err() != nil {
			if !r.Compile {
				return l.tooLate(p.vm, before)
			}
			p.out.Stopped = fmt.Sprintf("they took more than %v", l.limit)
			break
		}
	}
	p.out.Metrics = p.vm.host.metrics.told()
	return reply{Outcome: passed, Played: &p.out}
}

func (p *player) start() error {
	if p.vm != nil {
		p.vm.close()
	}
	p.vm = newVM(p.trial)
	return p.vm.start(p.ctx, p.engine.runtime, p.code.module)
}

// one plays one stream.
func (p *player) one(s playedStream) stream.Result {
	p.vm.host.records = new(record)
	if p.vm.failed != nil && p.play.OnFailure == definition.Reload {
		if err := p.start(); err != nil {
			return stream.Result{Crash: err.Error()}
		}
	}
	p.last++
	h := p.vm.host
	sc := &scope{id: p.last, given: stream.Tree(s.Given)}
	sc.stream = stream.NewHTTP(&streamVM{p.vm, sc}, s.Stream, stream.Options{
		StopIteration: p.play.StopIteration, FailOpen: p.play.OnFailure == definition.Open, Began: h.now(),
	})
	before := p.vm.failed
	for sc.stream.Step() {
	}
	sc.stream.GiveUp()
	delete(h.scopes, sc.id)
	r := sc.stream.Result()
	r.Record = h.records.told()
	if p.vm.failed != nil && before == nil {
		r.Crash = p.crash()
	}
	return r
}

// crash is why the module failed.
func (p *player) crash() string {
	reason := strings.TrimPrefix(p.vm.failed.Error(), "dry run: ")
	if p.ctx.Err() != nil {
		callback, _, _ := strings.Cut(reason, " ")
		return fmt.Sprintf("%s: it took more than %v, which all streams may take together", callback, p.limit)
	}
	return reason
}
