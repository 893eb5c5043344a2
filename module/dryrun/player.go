package dryrun

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"wasmxds/definition"
	"wasmxds/module/dryrun/profile"
	"wasmxds/module/dryrun/stream"
)

// player plays streams through a module, in the separate process.
type player struct {
	*loaded
	play *played
	ctx  context.Context
	vm   *vm
	out  Played
	last uint32 // id of the last context
	left int    // bytes that the module may still create

	profile profile.Recorder
}

// play starts the module and plays all streams.
func (l *loaded) play(ctx context.Context, r request) reply {
	limited, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	p := &player{loaded: l, play: r.Play, ctx: limited, last: rootContext, left: maxMade}
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
		_, deep := errors.AsType[*tooMuch](p.vm.failed)
		if !r.Compile && (deep || limited.Err() != nil) {
			return l.tooLate(p.vm, before)
		}
		if p.out.Stopped != "" {
			break
		}
		if limited.Err() != nil {
			p.out.Stopped = fmt.Sprintf("they took more than %v", l.limit)
			break
		}
	}
	p.end()
	p.out.Metrics = p.vm.host.metrics.told()
	if r.Play.Profile {
		p.out.Profile = p.profile.Profile()
	}
	return reply{Outcome: passed, Played: &p.out}
}

func (p *player) start() error {
	if p.vm != nil {
		p.vm.close()
	}
	p.vm = newVM(p.trial)
	p.vm.host.left = &p.left
	p.vm.host.records.left = &p.left
	h := p.vm.host
	if p.play.Profile {
		h.profile = &p.profile
		p.profile.Phase(profile.Start)
	}
	h.callouts.answers = answers(p.play.Callouts, nil)
	h.scopes[rootContext].given = stream.Tree(p.play.Given)
	return p.vm.start(p.ctx, p.engine.runtime, p.code.module)
}

// one plays one stream.
func (p *player) one(s playedStream) stream.Result {
	p.vm.host.records = &record{left: &p.left}
	if p.vm.failed != nil && p.play.OnFailure == definition.Reload {
		if err := p.start(); err != nil {
			p.vm.failed = err // the VM must not be used again
			return stream.Result{Crash: p.crash()}
		}
	}
	p.profile.Phase(profile.Requests)
	p.last++
	h, before := p.vm.host, p.vm.failed
	h.callouts.answers = answers(p.play.Callouts, s.Callouts)
	p.pass(s.After)
	sc := &scope{id: p.last, given: stream.Tree(append(slices.Clip(p.play.Given), s.Given...))}
	options := stream.Options{
		StopIteration: p.play.StopIteration, FailOpen: p.play.OnFailure == definition.Open, Began: h.now(), Now: h.now,
	}
	h.callouts.http2 = s.Protocol == stream.HTTP2
	var r stream.Result
	switch {
	case p.play.Logs:
		r = p.logged(s, options)
	case s.Connection != nil:
		sc.tcp = stream.NewTCP(&streamVM{p.vm, sc}, *s.Connection, options)
		p.driveTCP(sc.tcp)
		paused := ""
		if !sc.tcp.Finished() {
			paused = sc.tcp.Paused()
			sc.tcp.GiveUp()
		}
		r = sc.tcp.Result(paused)
	default:
		sc.stream = stream.NewHTTP(&streamVM{p.vm, sc}, s.Stream, options)
		p.drive(sc.stream)
		sc.stream.GiveUp()
		r = sc.stream.Result()
	}
	delete(h.scopes, sc.id)
	p.pass(s.Wait)
	p.settle()
	r.Record = h.records.told()
	if p.vm.failed != nil && before == nil && r.Crash == "" {
		r.Crash = p.crash()
	}
	return r
}

// logged plays a stream that only an access logger sees, for which the logger has no
// context of its own.
func (p *player) logged(s playedStream, options stream.Options) stream.Result {
	root := p.vm.host.scopes[rootContext]
	given := root.given
	root.given = stream.Tree(append(slices.Clip(p.play.Given), s.Given...))
	root.stream = stream.NewHTTP(&loggerVM{streamVM{p.vm, root}}, s.Stream, options)
	p.drive(root.stream)
	r := root.stream.Result()
	root.stream, root.given = nil, given
	return r
}

// drive delivers all of a stream, and runs the events that it waits for.
func (p *player) drive(s interface {
	Step() bool
	Finished() bool
}) {
	next := p.waiting()
	for events := 0; events < maxEvents; events++ {
		for s.Step() {
		}
		if s.Finished() || !next() {
			return
		}
	}
}

// driveTCP delivers all of a connection. While the filter holds it up, answers come before
// the next piece, with the ticks that precede them. Other ticks come after all pieces.
func (p *player) driveTCP(t *stream.TCP) {
	h := p.vm.host
	held := func() bool { return t.Paused() != "" && !t.Finished() }
	answered := func() bool { return h.next(&p.play.Ticks) }
	if p.play.Clock {
		answered = func() bool { return h.nextUntil(h.now()) }
	}
	next := p.waiting()
	events := 0
	for step := true; step; {
		for ; events < maxEvents && t.Step(); events++ {
			for held() && events < maxEvents && answered() {
				events++
			}
		}
		for step = false; p.play.Clock && held() && events < maxEvents && next(); events++ {
			step = true
		}
	}
}

// waits is how long timers tick for a stream that waits for nothing else. It is as long as
// the stream may take on an Envoy.
const waits = 5 * time.Second

// waiting returns the function that runs the next event for a stream that waits.
func (p *player) waiting() (next func() bool) {
	h := p.vm.host
	if !p.play.Clock {
		return func() bool { return h.next(&p.play.Ticks) }
	}
	until := h.now().Add(waits)
	return func() bool { return h.nextUntil(until) }
}

// pass lets time pass, and runs the events that are due meanwhile.
func (p *player) pass(d time.Duration) {
	if d == 0 || p.vm.failed != nil {
		return
	}
	h := p.vm.host
	until := h.now().Add(d)
	for events := 0; h.due(until); events++ {
		if events == maxEvents {
			p.out.Stopped = fmt.Sprintf("more than %d timers and answers within %v", maxEvents, d)
			return
		}
		h.nextUntil(until)
	}
	if p.vm.failed == nil {
		h.skipTo(until)
	}
}

// settle delivers the answers that no stream waits for.
func (p *player) settle() {
	none := 0
	for events := 0; events < maxEvents && p.vm.host.next(&none); events++ {
	}
}

// end runs the remaining ticks, and then ends the plugin.
func (p *player) end() {
	h := p.vm.host
	p.profile.Phase(profile.End)
	h.records = &record{left: &p.left}
	for p.play.Ticks > 0 && h.next(&p.play.Ticks) {
	}
	if p.vm.failed == nil {
		ticks := maxTicksToEnd
		h.end(&ticks)
	}
	p.out.End = h.records.told()
	if p.vm.failed != nil && p.out.Stopped == "" && len(p.out.End.Callbacks) > 0 {
		p.out.Stopped = p.crash()
	}
}

// maxTicksToEnd limits the ticks of a plugin that delays its end.
const maxTicksToEnd = 10

// answers are the answers of a stream, and those of the play for other clusters.
func answers(common, own map[string]stream.Callout) map[string]stream.Callout {
	out := map[string]stream.Callout{}
	maps.Copy(out, common)
	maps.Copy(out, own)
	return out
}

// crash returns the reason why the module failed.
func (p *player) crash() string {
	reason := strings.TrimPrefix(p.vm.failed.Error(), "dry run: ")
	if p.ctx.Err() != nil {
		callback, _, _ := strings.Cut(reason, " ")
		return fmt.Sprintf("%s: it took more than %v, which all streams may take together", callback, p.limit)
	}
	return reason
}
