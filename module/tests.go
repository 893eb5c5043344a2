package module

import (
	"context"
	"errors"
	"fmt"

	"wasmxds/definition"
)

// Tester runs the tests of a filter.
type Tester interface {
	// Key tells tests apart: those of the same key have the same outcome, of a filter
	// and a module that a [Runner] has one key for.
	Key(tests []*definition.FilterTest) string
	// Test gives a [*TestError] if some fail, and an [*UntestedError] where only an Envoy
	// can run them; any other error says that they could not be run.
	Test(ctx context.Context, f *definition.Filter, m Info, tests []*definition.FilterTest) error
}

// TestError says which tests of a filter fail with a module.
type TestError struct {
	Problems []definition.Problem // one at least, each where it is expected
}

func (e *TestError) Error() string {
	first := e.Problems[0]
	told := fmt.Sprintf("its tests fail: %v", first)
	if more := len(e.Problems) - 1; more > 0 {
		told += fmt.Sprintf("; and %d more", more)
	}
	return told
}

// UntestedError says that tests can't be run here, though nothing is wrong with them or
// their filter. It holds nothing up.
type UntestedError struct {
	Problem definition.Problem // where they are
}

func (e *UntestedError) Error() string { return e.Problem.Message }

// tested are the tests of a filter as they are wanted, and what else its version waits
// for.
type tested struct {
	tests []*definition.FilterTest
	key   string           // of the tests; "": there are none
	hole  *definition.Hole // tests that can't be read, and never were good
}

func (t tested) none() bool { return len(t.tests) == 0 && t.hole == nil }

// cases is how many there are.
func (t tested) cases() (n int) {
	for _, test := range t.tests {
		n += len(test.Cases)
	}
	return n
}

// testsOf gives what is to be tested of a filter.
func (l *resolution) testsOf(f *definition.Filter) tested {
	if l.Tester == nil || f.Untested() != "" {
		return tested{}
	}
	t := tested{tests: l.wanted.TestsOf(f.Name)}
	for _, h := range l.wanted.TestHoles {
		if h.Tests == f.Name {
			t.hole = h
			break
		}
	}
	return t
}

// keyOfTests is what a trial's key has for tests.
func (l *resolution) keyOfTests(tests []*definition.FilterTest) string {
	if len(tests) == 0 {
		return ""
	}
	return "+" + l.Tester.Key(tests)
}

// keyOfTrial names a filter with a module.
func (l *resolution) keyOfTrial(f *definition.Filter, m Info) string {
	if l.Runner == nil {
		return m.SHA256
	}
	return l.Runner.Key(f, m.SHA256)
}

func (t tested) same(other tested) bool {
	if len(t.tests) != len(other.tests) || (t.hole == nil) != (other.hole == nil) || t.hole != nil && t.hole.Cause != other.hole.Cause {
		return false
	}
	for i, test := range t.tests {
		if test != other.tests[i] {
			return false
		}
	}
	return true
}

// unreadable says why nothing new of a filter is served while its tests can't be read.
func (t tested) unreadable() error {
	return fmt.Errorf("its tests can't be read: %w", t.hole.Cause)
}

// tryOnce has a module tried and, where that is good, tested.
func (l *resolution) tryOnce(ctx context.Context, f *definition.Filter, m Info, tests []*definition.FilterTest) error {
	if f.Verify != definition.VerifyABI && l.Runner != nil {
		if err := l.Runner.Run(ctx, f, m); err != nil {
			return err
		}
	}
	if len(tests) == 0 {
		return nil
	}
	return l.Tester.Test(ctx, f, m, tests)
}

// isVerdict says whether the same would come of trying again.
func isVerdict(err error) bool {
	_, content := errors.AsType[*ContentError](err)
	_, tests := errors.AsType[*TestError](err)
	_, untested := errors.AsType[*UntestedError](err)
	return err == nil || content || tests || untested
}
