// Package expression evaluates CEL expressions (Common Expression Language) over the
// attributes of a stream, as Envoy does for its foreign functions expr_create and
// expr_evaluate. It does not depend on Wasm: attributes come from a [Find], and a result is
// a [stream.Value].
//
// As in Envoy, expressions are parsed but not type-checked. The cost of each is bounded.
package expression

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/types"

	"wasmxds/module/dryrun/stream"
)

const (
	// MaxSize is the maximum size of an expression in bytes. The parser can't be
	// interrupted.
	MaxSize = 16 << 10
	// maxCost limits the cost of an evaluation: about one for each operation, and one for
	// each ten characters of text that an operation reads.
	maxCost = 1_000_000
	// maxDepth is how deeply expressions may be nested, which is as deeply as Envoy's
	// parser allows.
	maxDepth = 33
)

// ErrTooLarge means that an expression is longer than [MaxSize].
var ErrTooLarge = fmt.Errorf("an expression has more than %d KiB", MaxSize>>10)

// ErrSyntax means that a text is not an expression.
var ErrSyntax = errors.New("it is no expression")

// ErrTooDear means that an evaluation exceeds the limit of its cost.
var ErrTooDear = errors.New("an expression costs too much to evaluate")

// Find returns the attribute at a path, such as request, headers, x-a. A [stream.Lookup]
// means that only the values below it are known.
type Find func(path []string) (stream.Value, bool)

// Expression is a parsed expression. It can be evaluated any number of times.
type Expression struct{ program cel.Program }

// environment is shared by all expressions. It is created when it is first needed, because
// that takes a moment and most modules have no expressions.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.ParserExpressionSizeLimit(MaxSize), cel.ParserRecursionLimit(maxDepth), cel.EnableErrorOnBadPresenceTest(true))
})

// Parse parses an expression. It also fails if the expression calls a function that does
// not exist; that error is not an [ErrSyntax].
func Parse(text string) (*Expression, error) {
	if len(text) > MaxSize {
		return nil, ErrTooLarge
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	parsed, issues := env.Parse(text)
	if issues.Err() != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, issues.Err())
	}
	if err := known(env.Functions(), parsed.NativeRep().Expr()); err != nil {
		return nil, err
	}
	program, err := env.Program(parsed, cel.CostLimit(maxCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, err
	}
	return &Expression{program}, nil
}

// known checks that all functions exist. Without a type check, a missing function would be
// found only at evaluation, but Envoy finds it when it creates the expression.
func known(functions map[string]*decls.FunctionDecl, e ast.Expr) (err error) {
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		call := e.AsCall()
		name, args, member := call.FunctionName(), len(call.Args()), call.IsMemberFunction()
		if member {
			args++
		}
		f := functions[name]
		if f == nil || !slices.ContainsFunc(f.OverloadDecls(), func(o *decls.OverloadDecl) bool {
			return o.IsMemberFunction() == member && len(o.ArgTypes()) == args
		}) {
			err = fmt.Errorf("there is no function %s of %d arguments", name, args)
		}
	}))
	return err
}

// Evaluate returns the value of the expression for these attributes. It fails if the
// context ends.
func (e *Expression) Evaluate(ctx context.Context, find Find) (stream.Value, error) {
	result, _, err := e.program.ContextEval(ctx, &activation{find})
	if err != nil {
		if dear(err) {
			return nil, ErrTooDear
		}
		return nil, err
	}
	if types.IsError(result) {
		return nil, result.(*types.Err)
	}
	return valueOf(result)
}
