package pipeline

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"time"

	"wasmxds/admin"
	"wasmxds/definition"
	"wasmxds/keypair"
	"wasmxds/module"
	"wasmxds/queue"
	"wasmxds/resource"
	"wasmxds/rollout"
	"wasmxds/source"
	"wasmxds/trace"
	"wasmxds/xds"
)

// join is what the stages have said last. One goroutine's.
type join struct {
	options resource.Options
	want    func(*module.Set) // says who is to get what, by a plan
	publish func(xds.Publication)
	loaded  func(admin.Loaded)
	swapped func(xds.Swap)
	ready   func() // called once, when the first set is published
	tracer  *trace.Tracer
	log     *slog.Logger

	pairs *keypair.Store // nil: no listener can have TLS

	update    source.Update
	set       *module.Set   // as the sources say; nil: none yet
	plan      *rollout.Plan // that was served last
	base      *module.Set   // as it is everywhere; nil: nothing is
	published xds.Publication
	compiled  []definition.Problem
	guards    []definition.Problem
	held      *module.Set      // not wanted yet
	hold      <-chan time.Time // ends that
	logged    map[definition.Problem]bool
}

// inputs are where the stages say it.
type inputs struct {
	updates chan source.Update
	sets    chan *module.Set
	plans   chan *rollout.Plan
	swaps   *queue.Queue[xds.Swaps]
	guards  <-chan []definition.Problem
	pairs   chan struct{} // certificates of listeners have changed
}

// run takes what the stages say, and hands it on, until ctx ends.
func (j *join) run(ctx context.Context, in inputs) {
	hold := time.NewTimer(firstHold)
	defer hold.Stop()
	j.hold = hold.C
	for {
		select {
		case <-ctx.Done():
			j.tellSwaps(in.swaps)
			return
		case u := <-in.updates:
			traceRead(j.tracer, u)
			j.update = u
			j.tell()
		case set := <-in.sets:
			j.resolved(set)
		case plan := <-in.plans:
			j.serve(plan)
		case <-j.hold:
			j.release()
		case problems := <-in.guards:
			j.guards = problems
			j.tell()
		case <-in.pairs:
			if j.plan != nil {
				j.serve(j.plan)
			}
		case <-in.swaps.Some():
			j.tellSwaps(in.swaps)
		}
	}
}

// firstHold bounds how long the first set waits for modules that are coming.
const firstHold = 3 * time.Second

func coming(f *module.Filter) bool { return f.State == module.Fetching }

// resolved takes a set with its modules. The first is held back while modules are
// still coming: a server that was killed may not have kept the last good version,
// and Envoys would be sent the one before it.
func (j *join) resolved(set *module.Set) {
	if j.set == nil && j.hold != nil && slices.ContainsFunc(set.Filters, coming) {
		j.held = set
		return
	}
	j.wanted(set)
}

// release holds nothing back any more.
func (j *join) release() {
	j.hold = nil
	if j.held != nil {
		j.wanted(j.held)
	}
}

// wanted has a set rolled out.
func (j *join) wanted(set *module.Set) {
	j.set, j.held = set, nil
	j.want(set)
	if j.published.Catalog != nil {
		j.tell() // of its problems: it may be that nobody gets anything else
	}
}

// serve compiles and publishes a plan.
func (j *join) serve(plan *rollout.Plan) {
	first := j.published.Catalog == nil
	began := time.Now()
	j.plan = plan
	publication, problems := publicationOf(j.published.Catalog, plan, j.servedBy(plan), j.options)
	compiled := time.Now()
	j.published, j.compiled, j.base = publication, told(problems), plan.Base
	j.publish(j.published)
	tracePublished(j.tracer, j.set, publication.Catalog, began, compiled)
	j.log.Info("published", "filters", len(plan.Base.Filters), "listeners", len(plan.Base.Listeners), "resources", len(plan.Base.Resources), "changes", len(plan.Sets))
	j.tell()
	if first {
		j.ready()
	}
}

// told are the problems of the base and of what is on its way.
func told(p resource.Problems) []definition.Problem {
	all := slices.Clone(p.Base)
	for _, more := range p.Choices {
		all = append(all, more...)
	}
	return all
}

func (j *join) tellSwaps(s *queue.Queue[xds.Swaps]) {
	for _, made := range s.Take() {
		for w := range made.All() {
			j.swapped(w)
		}
	}
}

// tell brings the admin server and the log up to date.
func (j *join) tell() {
	problems := slices.Concat(j.update.Problems, j.compiled, j.guards)
	if j.set != nil {
		problems = append(problems, j.set.Problems...)
	}
	slices.SortStableFunc(problems, func(a, b definition.Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	problems = slices.Compact(problems)
	j.logNew(problems)
	set := j.set
	if j.published.Catalog == nil { // it is on its way, or waits for what the server that leads writes
		set = nil
	}
	j.loaded(admin.Loaded{
		Set: set, Base: j.base, Catalog: j.published, Problems: problems, Files: j.update.Files, Changed: j.update.Changed,
		Held: admin.Held{ID: j.update.HeldID, Definitions: j.update.Held.Definitions, Of: j.update.Held.Of},
	})
}

// logNew logs each problem once, when it comes up.
func (j *join) logNew(problems []definition.Problem) {
	logged := make(map[definition.Problem]bool, len(problems))
	for _, f := range problems {
		if !j.logged[f] {
			level := slog.LevelError
			if f.Warning {
				level = slog.LevelWarn
			}
			j.log.Log(context.Background(), level, f.Error(), "hint", f.Hint)
		}
		logged[f] = true
	}
	j.logged = logged
}
