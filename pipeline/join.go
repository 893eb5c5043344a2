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

// join has the latest output of each stage. It is used by one goroutine.
type join struct {
	options resource.Options
	want    func(*module.Set) // receives the desired set; plans follow from it
	publish func(xds.Publication)
	loaded  func(admin.Loaded)
	swapped func(xds.Swap)
	ready   func() // called once, when the first set is published
	tracer  *trace.Tracer
	log     *slog.Logger

	pairs *keypair.Store // nil: no listener can have TLS

	update    source.Update
	set       *module.Set   // from the sources; nil: none yet
	plan      *rollout.Plan // the last one that was served
	base      *module.Set   // set in force everywhere; nil: none
	published xds.Publication
	compiled  []definition.Problem
	guards    []definition.Problem
	held      *module.Set      // held back at the start
	hold      <-chan time.Time // fires when held is released
	logged    map[definition.Problem]bool
}

// inputs are the channels from the stages.
type inputs struct {
	updates chan source.Update
	sets    chan *module.Set
	plans   chan *rollout.Plan
	swaps   *queue.Queue[xds.Swaps]
	guards  <-chan []definition.Problem
	pairs   chan struct{} // certificates of listeners have changed
}

// run passes the output of each stage on to the next until ctx ends.
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

// firstHold bounds how long the first set waits for modules that are being
// fetched.
const firstHold = 3 * time.Second

func coming(f *module.Filter) bool { return f.State == module.Fetching }

// resolved handles a set with its modules. The first one is held back while
// modules are being fetched: a server that was killed may not have stored the
// last good version, and Envoys would be sent the one before it.
func (j *join) resolved(set *module.Set) {
	if j.set == nil && j.hold != nil && slices.ContainsFunc(set.Filters, coming) {
		j.held = set
		return
	}
	j.wanted(set)
}

// release ends holding back the first set.
func (j *join) release() {
	j.hold = nil
	if j.held != nil {
		j.wanted(j.held)
	}
}

// wanted starts the rollout of a set.
func (j *join) wanted(set *module.Set) {
	j.set, j.held = set, nil
	j.want(set)
	if j.published.Catalog != nil {
		j.tell() // report its problems now: there may be no new plan
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

// told returns the problems of the base and of all changes in progress.
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

// tell updates the admin server and the log.
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
	if j.published.Catalog == nil { // the first plan has not been served, possibly because it waits for the leader's write
		set = nil
	}
	j.loaded(admin.Loaded{
		Set: set, Base: j.base, Catalog: j.published, Problems: problems, Files: j.update.Files, Changed: j.update.Changed,
		Held: admin.Held{ID: j.update.HeldID, Definitions: j.update.Held.Definitions, Of: j.update.Held.Of},
	})
}

// logNew logs each problem once, when it first occurs.
func (j *join) logNew(problems []definition.Problem) {
	logged := make(map[definition.Problem]bool, len(problems))
	for _, f := range problems {
		if !j.logged[f] {
			level := slog.LevelError
			if f.Warning {
				level = slog.LevelWarn
			}
			var hint []slog.Attr
			if f.Hint != "" {
				hint = append(hint, slog.String("hint", f.Hint))
			}
			j.log.LogAttrs(context.Background(), level, f.Error(), hint...)
		}
		logged[f] = true
	}
	j.logged = logged
}
