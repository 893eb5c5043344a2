package main

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/source"
	"wasmxds/trace"
	"wasmxds/xds"
)

// pipeline is the way of a change: what the directory says, with its modules,
// compiled, published, and told to the admin server.
type pipeline struct {
	xds     *xds.Server
	admin   *admin.Server
	options resource.Options
	ready   func() // called once, when the first set is published
	tracer  *trace.Tracer
	swaps   *swaps
	log     *slog.Logger

	mu       sync.Mutex
	update   source.Update
	set      *module.Set // nil: none yet
	catalog  *resource.Catalog
	compiled []definition.Problem
	guards   []definition.Problem
	held     *module.Set // not published yet
	hold     *time.Timer // ends that
	started  time.Time
	logged   map[definition.Problem]bool
}

func newPipeline(x *xds.Server, a *admin.Server, options resource.Options, log *slog.Logger) *pipeline {
	return &pipeline{xds: x, admin: a, options: options, log: log, started: time.Now()}
}

// sourced takes what the directory says, and hands its set on.
func (p *pipeline) sourced(ctx context.Context, u source.Update, next chan<- *definition.Set) {
	traceRead(p.tracer, u)
	p.mu.Lock()
	p.update = u
	p.tell()
	p.mu.Unlock()
	if u.Set == nil {
		return
	}
	select {
	case next <- u.Set:
	case <-ctx.Done():
	}
}

// resolved takes a set with its modules, and publishes it. The first is held
// back while modules are still coming: a server that was killed may not have
// kept the last good version, and Envoys would be sent the one before it.
func (p *pipeline) resolved(set *module.Set) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.catalog == nil && slices.ContainsFunc(set.Filters, coming) && time.Since(p.started) < firstHold {
		p.held = set
		if p.hold == nil {
			p.hold = time.AfterFunc(firstHold-time.Since(p.started), p.release)
		}
		return
	}
	p.publish(set)
}

// firstHold bounds how long the first set waits for modules that are coming.
const firstHold = 3 * time.Second

func coming(f *module.Filter) bool { return f.State == module.Fetching }

// release publishes what is still held back.
func (p *pipeline) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.catalog == nil && p.held != nil {
		p.publish(p.held)
	}
}

// end stops what is pending.
func (p *pipeline) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hold != nil {
		p.hold.Stop()
	}
	p.held = nil
}

// publish is resolved for a set that is not held back. The caller holds p.mu.
func (p *pipeline) publish(set *module.Set) {
	first := p.catalog == nil
	p.set, p.held = set, nil
	began := time.Now()
	p.catalog, p.compiled = resource.Compile(p.catalog, set, p.options)
	compiled := time.Now()
	defer p.swaps.wait()()
	p.xds.Publish(p.catalog)
	tracePublished(p.tracer, set, p.catalog, began, compiled)
	p.log.Info("published", "filters", len(set.Filters), "listeners", len(set.Listeners), "resources", len(set.Resources))
	p.tell()
	if first {
		p.ready()
	}
}

// guarded takes what is wrong with certificates and the policy.
func (p *pipeline) guarded(problems []definition.Problem) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guards = problems
	p.tell()
}

// tell brings the admin server and the log up to date. The caller holds p.mu.
func (p *pipeline) tell() {
	problems := slices.Concat(p.update.Problems, p.compiled, p.guards)
	if p.set != nil {
		problems = append(problems, p.set.Problems...)
	}
	slices.SortStableFunc(problems, func(a, b definition.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	problems = slices.Compact(problems)
	p.logNew(problems)
	p.admin.Loaded(admin.Loaded{
		Set: p.set, Catalog: p.catalog, Problems: problems, Files: p.update.Files, Changed: p.update.Changed,
		Held: admin.Held(p.update.Held),
	})
}

// logNew logs each problem once, when it comes up.
func (p *pipeline) logNew(problems []definition.Problem) {
	logged := make(map[definition.Problem]bool, len(problems))
	for _, f := range problems {
		if !p.logged[f] {
			level := slog.LevelError
			if f.Warning {
				level = slog.LevelWarn
			}
			p.log.Log(context.Background(), level, f.Error(), "hint", f.Hint)
		}
		logged[f] = true
	}
	p.logged = logged
}
