package module

import (
	"context"
	"errors"
	"fmt"

	"wasmxds/definition"
)

// Tester runs the tests of a filter.
type Tester interface {
	// Key identifies tests: for a filter and a module with the same key of a
	// [Runner], tests with the same key have the same outcome.
	Key(tests []*definition.FilterTest) string
	// Test returns a [*TestError] if tests fail, and an [*UntestedError] if
	// only an Envoy can run them. Any other error means that they could not be
	// run.
	Test(ctx context.Context, f *definition.Filter, m Info, tests []*definition.FilterTest) error
}

// TestError lists the tests of a filter that fail with a module.
type TestError struct {
	Problems []definition.Problem // at least one, each at the position of the expectation
}

func (e *TestError) Error() string {
	first := e.Problems[0]
	told := fmt.Sprintf("its tests fail: %v", first)
	if more := len(e.Problems) - 1; more > 0 {
		told += fmt.Sprintf("; and %d more", more)
	}
	return told
}

// UntestedError means that tests can't be run here, although nothing is wrong
// with them or their filter. It delays nothing.
type UntestedError struct {
	Problem definition.Problem // at the position of the tests
}

func (e *UntestedError) Error() string { return e.Problem.Message }

// tested are the tests of a wanted filter, and the tests that its version waits
// for.
type tested struct {
	tests []*definition.FilterTest
	key   string           // of the tests; "": there are none
	hole  *definition.Hole // tests that can't be read, and were never good
}

func (t tested) none() bool { return len(t.tests) == 0 && t.hole == nil }

// cases returns the number of test cases.
func (t tested) cases() (n int) {
	for _, test := range t.tests {
		n += len(test.Cases)
	}
	return n
}

// testsOf returns the tests of a filter.
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

// keyOfTests returns the part of a trial's key for tests.
func (l *resolution) keyOfTests(tests []*definition.FilterTest) string {
	if len(tests) == 0 {
		return ""
	}
	return "+" + l.Tester.Key(tests)
}

// keyOfTrial returns the key of a filter with a module.
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

// unreadable returns why no new version of a filter is served while its tests
// can't be read.
func (t tested) unreadable() error {
	return fmt.Errorf("its tests can't be read: %w", t.hole.Cause)
}

// tryOnce tries a module and, if that succeeds, runs its tests.
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

// isVerdict reports whether another attempt would have the same outcome.
func isVerdict(err error) bool {
	_, content := errors.AsType[*ContentError](err)
	_, tests := errors.AsType[*TestError](err)
	_, untested := errors.AsType[*UntestedError](err)
	return err == nil || content || tests || untested
}
