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

// Options are for [New]; only Store must be given.
type Options struct {
	Store    *Store
	Fetchers map[string]Fetcher // by URL scheme; "file" is there by itself
	Policy   Policy             // for URLs; Fetchers must keep to it as well, for addresses and redirects
	Runner   Runner             // nil: no dry runs
	Tester   Tester             // nil: tests of filters are not run
	// Signatures says by whom modules must be signed; nil: by nobody.
	Signatures Signatures

	// State keeps what was good last, across restarts; nil: it isn't kept.
	State *state.Writer
	// Shared is the store that State writes to, where other servers write as well;
	// nil: none do.
	Shared state.Store
	// Own keeps what origins said of what is in Store; nil: State does.
	Own *state.Writer
	// InForce are filters that Envoys may be sent from the start on, whatever
	// definitions say now. A module of theirs that is not in Store, as this disk is
	// a new one, is got again.
	InForce []*Filter
	// Peers are asked for a module by its content: where it is pinned, before its
	// origin, unless that is a file of this machine; where it is in force or needed,
	// at once, whatever it was defined by. nil: there are none.
	Peers Peers

	Poll     time.Duration   // how often to ask origins for newer content of unpinned URLs; 0: never
	Timeout  time.Duration   // of one fetch; default 1 minute
	Limit    int64           // bytes of a module; default 64 MiB
	Fetches  int             // at once; default 32
	Needed   func() []string // modules (SHA-256) that others still name; nil: none
	Used     func() []string // modules (SHA-256) that Envoys may fetch again, which stay while they are here; nil: none
	Settle   time.Duration   // how long to wait for what is on the way before a Set goes out without it; default 50 ms
	Retain   Retain          // of modules that nothing names any more
	BackOff  func() BackOff  // between attempts; default 0.5 s doubling to 1 minute, with jitter
	LookAt   time.Duration   // how often to look whether a file has changed, besides watching it; default 1 s
	Logger   *slog.Logger
	Observer Observer
}

// BackOff gives the time to wait before each next attempt.
type BackOff = backoff.BackOff

// Observer is told of fetches, for metrics. Its functions may be nil; they
// must be safe for concurrent use and must not block.
type Observer struct {
	Fetched func(Fetch)
	DryRun  func(filter string, took time.Duration, err error) // filter is the first that the trial is for
}

// Fetch is an attempt to get a module from its origin.
type Fetch struct {
	Scheme, URL string // URL: as people are told of it
	SHA256      string // "": none came
	New         bool   // false with Err nil: the origin has nothing else than before
	Took        time.Duration
	Err         error
}

// Runner tries a module as Envoy would start it for a filter, and sees to it
// that not too many are tried at once.
type Runner interface {
	// Key tells trials apart: those of the same key have the same outcome.
	Key(f *definition.Filter, sha256 string) string
	// Run gives a [*ContentError] if Envoy could not use the module for this
	// filter; any other error says that it could not be tried.
	Run(ctx context.Context, f *definition.Filter, m Info) error
}

// Resolver finds the best module for each filter: the one wanted, or the last
// that was good. Make one by [New].
type Resolver struct {
	Options
	fetching *semaphore.Weighted
}

// New makes a Resolver; nothing happens before Run.
func New(options Options) *Resolver {
	o := options
	o.Timeout = cmp.Or(o.Timeout, time.Minute)
	o.Limit = cmp.Or(o.Limit, 64<<20)
	o.Fetches = cmp.Or(o.Fetches, 32)
	o.Settle = cmp.Or(o.Settle, 50*time.Millisecond)
	o.LookAt = cmp.Or(o.LookAt, time.Second)
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

// Run takes sets of definitions, each the whole, and gives the set as it can
// be served: soon after each update, again whenever a module came in or went
// bad. emit is called by one goroutine; the sets are immutable. Nothing slow
// holds up the rest: filters whose module is on the way have State Fetching.
//
// A filter whose module can't be had or can't be used keeps its last good
// definition and module. Origins are asked again with back-off until they
// have what is wanted; files are watched.
//
// Filters with fetch: direct aren't fetched. Since Envoy demands a SHA-256,
// an unpinned one is fetched once nevertheless to learn it.
//
// Run ends with nil when ctx is done, and may be called once.
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

// tend looks after the store: what is lost is fetched again, what nothing names
// any more is removed.
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

// mend has what is no longer in the store fetched again.
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
