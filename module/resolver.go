package module

import (
	"cmp"
	"context"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"wasmxds/definition"
	"wasmxds/state"
)

// DefaultLimit is the maximum size of a module in bytes if Options set none.
const DefaultLimit = 64 << 20

// Options are the options of [New]. Only Store is required.
type Options struct {
	Store    *Store
	Fetchers map[string]Fetcher // by URL scheme; "file" is built in
	Policy   Policy             // for URLs; Fetchers must enforce it for addresses and redirects
	Runner   Runner             // nil: no dry runs
	Tester   Tester             // nil: tests of filters are not run
	// Signatures determines who must sign modules; nil: nobody.
	Signatures Signatures

	// State stores the last good versions across restarts; nil: they are not
	// stored.
	State *state.Writer
	// Shared is the store that State writes to, if other servers write to it as
	// well; otherwise nil.
	Shared state.Store
	// Own stores the validators of origins; nil: State does.
	Own *state.Writer
	// InForce are filters that Envoys may be sent from the start on, whatever
	// the current definitions. If a module of theirs is missing in Store, for
	// example on a new disk, it is fetched again.
	InForce []*Filter
	// Peers are asked for modules by their content: for pinned modules before
	// the origin, unless it is a file on this machine; for modules that are in
	// force or needed immediately, whatever defined them. It may be nil.
	Peers Peers

	Poll      time.Duration   // interval of checks for new content of unpinned URLs; 0: never
	Timeout   time.Duration   // of one fetch; default 1 minute
	Limit     int64           // maximum size of a module in bytes; default DefaultLimit
	Fetches   int             // maximum number of concurrent fetches; default 32
	Needed    func() []string // modules (SHA-256) that are referenced elsewhere; nil: none
	Used      func() []string // modules (SHA-256) that Envoys may fetch again, the most important first; up to maxUsed of them are kept while they are in the store; nil: none
	Settle    time.Duration   // maximum wait before a Set is sent without what is in progress; default 50 ms
	SlowAfter time.Duration   // time after which a trial without an outcome is a problem; default 10 s
	Retain    Retain          // for unreferenced modules
	BackOff   func() BackOff  // between attempts; default 0.5 s, doubling up to 1 minute, with jitter
	LookAt    time.Duration   // interval of polling files, in addition to watching them; default 1 s
	Logger    *slog.Logger
	Observer  Observer
}

// BackOff returns the wait before each next attempt.
type BackOff = backoff.BackOff

// Observer receives events, for metrics. Its functions may be nil. They must be
// safe for concurrent use and must not block.
type Observer struct {
	Fetched func(Fetch)
	DryRun  func(filter string, took time.Duration, err error) // filter is the first one that the trial is for
}

// Fetch is an attempt to fetch a module from its origin.
type Fetch struct {
	Scheme, URL string // URL: masked for messages
	SHA256      string // "": none was fetched
	New         bool   // false and Err is nil: the content has not changed
	Took        time.Duration
	Err         error
}

// Runner tries a module as Envoy would start it for a filter, and bounds the
// number of concurrent trials.
type Runner interface {
	// Key identifies a trial: trials with the same key have the same outcome.
	Key(f *definition.Filter, sha256 string) string
	// Run returns a [*ContentError] if Envoy could not use the module for this
	// filter. Any other error means that the trial was not possible.
	Run(ctx context.Context, f *definition.Filter, m Info) error
}

// Resolver finds the best module for each filter: the wanted one, or the last
// good one. Use [New] to create one.
type Resolver struct {
	Options
	fetching *semaphore.Weighted
}

// New returns a Resolver. It starts nothing before Run.
func New(options Options) *Resolver {
	o := options
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Limit = cmp.Or(o.Limit, DefaultLimit)
	o.Fetches = cmp.Or(o.Fetches, 32)
	o.Settle = cmp.Or(o.Settle, 50*time.Millisecond)
	o.LookAt = cmp.Or(o.LookAt, time.Second)
	o.SlowAfter = cmp.Or(o.SlowAfter, 10*time.Second)
	if o.BackOff == nil {
		o.BackOff = func() BackOff {
			b := backoff.NewExponentialBackOff()
			b.MaxInterval, b.Multiplier = time.Minute, 2
			return b
		}
	}
	if o.Needed == nil {
		o.Needed = func() []string { return nil }
	}
	if o.Used == nil {
		o.Used = func() []string { return nil }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Resolver{
		Options:  o,
		fetching: semaphore.NewWeighted(int64(o.Fetches)),
	}
}

// Run receives complete sets of definitions, and emits sets that can be served:
// soon after each update, and again whenever a module was fetched or became
// unusable. It calls emit from one goroutine; the sets are immutable. Slow
// origins do not delay the rest: filters whose module is being fetched have
// State Fetching.
//
// A filter whose module can't be fetched or used keeps its last good definition
// and module. Origins are retried with back-off until they have what is wanted;
// files are watched.
//
// Modules of filters with fetch: direct aren't fetched. Since Envoy requires a
// SHA-256, an unpinned one is nevertheless fetched once to compute it.
//
// Run returns nil when ctx ends. It may be called only once.
func (r *Resolver) Run(ctx context.Context, updates <-chan *definition.Set, emit func(*Set)) error {
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	l := &resolution{
		Resolver: r,
		ctx:      ctx,
		group:    group,
		watcher:  newFileWatcher(r.Logger),
		news:     make(chan func()),
		emit:     emit,
		origins:  map[originKey]*origin{},
		trials:   map[string]*dryRun{},
		filters:  map[string]*wantedFilter{},
		lost:     map[string]good{},
		proven:   map[proof]string{},
		accepted: map[string]accepted{},
		memory:   newMemory(r.State, cmp.Or(r.Own, r.State)),
	}
	l.restore()
	group.Go(func() error { l.watcher.run(); return nil })
	group.Go(func() error { l.tend(); return nil })
	l.regain()
	if l.Shared != nil {
		group.Go(func() error { l.learn(ctx); return nil })
	}
	if l.Peers != nil {
		group.Go(func() error { l.gather(); return nil })
	}
	l.run(updates)
	cancel()
	l.watcher.close()
	return group.Wait()
}

// tend maintains the store: it fetches lost modules again, and removes
// unreferenced ones.
func (l *resolution) tend() {
	for minute := 1; l.sleep(l.ctx, time.Minute); minute++ {
		named := make(chan map[string]bool, 1)
		l.post(l.ctx, func() {
			l.mend()
			named <- l.named()
		})
		select {
		case <-l.ctx.Done():
			return
		case names := <-named:
			if minute%60 == 0 {
				l.clean(names)
			}
		}
	}
}

func (l *resolution) clean(named map[string]bool) {
	removed, err := l.Store.GC(l.ctx, time.Now(), named, l.Retain)
	switch {
	case l.ctx.Err() != nil:
	case err != nil:
		l.Logger.Error("modules that nothing needs could not be removed", "error", err)
	case removed > 0:
		l.Logger.Info("removed modules that nothing needs", "modules", removed)
	}
}

// mend fetches modules that are no longer in the store again.
func (l *resolution) mend() {
	for _, o := range l.origins {
		if o.info.SHA256 != "" && !l.has(o.info) {
			l.Logger.Error("module was lost, it is fetched again", "url", o.key.String(), "sha256", o.info.SHA256)
			o.look()
		}
	}
}

func (l *resolution) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
