package try

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
)

// version is part of every key. Raise it when the same tests may have another outcome than
// before.
const version = 3

// Tests runs FilterTests. It is safe for concurrent use. [NewTests] creates it.
type Tests struct {
	player Player
	// Whoever holds turn or slow may play a case, so at most two cases take processes from
	// modules that are being tried. A case that takes long moves from turn to slow, so that the
	// tests of other filters can go on. The next cases of the same tests begin there.
	turn, slow *semaphore.Weighted
	budget     time.Duration
}

const (
	// budget limits all tests of a filter, without the time that they wait for their turn.
	budget = time.Minute
	// mostFailures is the number of failures after which the other tests of a filter are skipped.
	mostFailures = 20
	// long is the time after which a case no longer delays those of other filters.
	long = 2 * time.Second
)

// NewTests returns a Tests that plays with p.
func NewTests(p Player) *Tests {
	return &Tests{player: p, turn: semaphore.NewWeighted(1), slow: semaphore.NewWeighted(1), budget: budget}
}

// Key identifies everything that the outcome of the tests depends on, and where they are
// written, because failures name the place.
func (t *Tests) Key(tests []*definition.FilterTest) string {
	written, err := json.Marshal(struct {
		Version int
		Tests   []*definition.FilterTest
	}{version, tests})
	if err != nil { // impossible, since there are only strings, numbers and bytes
		panic(err)
	}
	sum := sha256.Sum256(written)
	return hex.EncodeToString(sum[:])
}

// Test runs the tests of a filter with a module of the store. A [*module.TestError]
// says which tests fail. A [*module.UntestedError] says that only an Envoy can run them. Any
// other error means that not all of them could be run.
func (t *Tests) Test(ctx context.Context, f *definition.Filter, m module.Info, tests []*definition.FilterTest) error {
	var failed []definition.Problem
	played, all, took, turn := 0, count(tests), time.Duration(0), t.turn
	for _, test := range tests {
		for _, c := range test.Cases {
			if took > t.budget {
				if len(failed) > 0 {
					return &module.TestError{Problems: failed}
				}
				return fmt.Errorf("tests: %d of %d cases have run after %v, and there is no more time", played, all, took.Round(time.Second))
			}
			out, err := t.play(ctx, f, m, c, &turn, &took)
			if only, ok := errors.AsType[*dryrun.Unplayable](err); ok {
				return &module.UntestedError{Problem: failure(definition.Expected{Pos: test.Pos, Field: "filter"}, "these tests are not run: %v", only)}
			}
			if content, ok := errors.AsType[*module.ContentError](err); ok {
				return &module.TestError{Problems: append(failed, failure(c.At, "%s: %v", c.Name, content))}
			}
			if err != nil {
				return fmt.Errorf("tests: %w", err)
			}
			played++
			failed = append(failed, shownOf(f, c, out.Failures)...)
			if len(failed) >= mostFailures {
				return &module.TestError{Problems: failed[:mostFailures]}
			}
		}
	}
	if len(failed) > 0 {
		return &module.TestError{Problems: failed}
	}
	return nil
}

// play plays a case when it is its turn, and adds the time that it took. A case that takes long
// moves from the turn to the slow one.
func (t *Tests) play(ctx context.Context, f *definition.Filter, m module.Info, c definition.TestCase, turn **semaphore.Weighted, took *time.Duration) (Outcome, error) {
	if err := (*turn).Acquire(ctx, 1); err != nil {
		return Outcome{}, err
	}
	moving, played := context.WithCancel(ctx)
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		*turn = t.moved(moving, *turn)
	}()
	defer func() {
		played()
		<-moved
		(*turn).Release(1)
	}()
	began := time.Now()
	defer func() { *took += time.Since(began) }()
	return Trial{Player: t.player, Filter: f, Module: m}.Case(ctx, c)
}

// moved returns the turn that a case holds when ctx ends. After a while, this is the slow one,
// once no other case holds it.
func (t *Tests) moved(ctx context.Context, turn *semaphore.Weighted) *semaphore.Weighted {
	select {
	case <-ctx.Done():
		return turn
	case <-time.After(long):
	}
	if turn == t.slow || t.slow.Acquire(ctx, 1) != nil {
		return turn
	}
	turn.Release(1)
	return t.slow
}

// shownOf returns the failures of a case as people may see them. The outcome may contain
// parts of the configuration, for example in a header that the filter adds. If the
// configuration is secret, the failures say only which expectations are not met.
func shownOf(f *definition.Filter, c definition.TestCase, failures []definition.Problem) []definition.Problem {
	if f.ConfigSecret == nil {
		return failures
	}
	shown := make([]definition.Problem, 0, len(failures))
	for _, p := range failures {
		shown = append(shown, definition.Problem{
			File: p.File, Line: p.Line, Field: p.Field,
			Message: c.Name + ": it is not as expected; what came is not shown, as the configuration comes from a Secret",
			Hint:    "xds-server try shows what comes with a configuration that is not secret",
		})
	}
	return shown
}

func count(tests []*definition.FilterTest) (n int) {
	for _, test := range tests {
		n += len(test.Cases)
	}
	return n
}
