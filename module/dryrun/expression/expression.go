// Package expression evaluates expressions of CEL (Common Expression Language) over
// attributes of a stream, as Envoy does for its foreign functions expr_create and
// expr_evaluate. It knows no Wasm: attributes are a [Find], and what an expression
// comes to is a [stream.Value].
//
// Expressions are parsed, not type-checked, as in Envoy. What one may cost is bounded.
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
	// MaxSize is how many bytes an expression may have. The parser can't be interrupted.
	MaxSize = 16 << 10
	// maxCost is what an evaluation may cost: about one for each operation, and one for
	// ten characters of a text that it goes through.
	maxCost = 1_000_000
	// maxDepth is how deep expressions may be nested: as deep as Envoy's parser allows.
	maxDepth = 33
)

// ErrTooLarge says that an expression is longer than [MaxSize].
var ErrTooLarge = fmt.Errorf("an expression has more than %d KiB", MaxSize>>10)

// ErrSyntax says that a text is no expression.
var ErrSyntax = errors.New("it is no expression")

// ErrTooDear says that an evaluation costs more than one may.
var ErrTooDear = errors.New("an expression costs too much to evaluate")

// Find gives the attribute at a path, such as request, headers, x-a. A
// [stream.Lookup] says that only what is below it is known.
type Find func(path []string) (stream.Value, bool)

// Expression is one that can be evaluated, any number of times.
type Expression struct{ program cel.Program }

// environment is what all expressions share. It takes a moment to make, and most
// modules have no expressions.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(cel.ParserExpressionSizeLimit(MaxSize), cel.ParserRecursionLimit(maxDepth), cel.EnableErrorOnBadPresenceTest(true))
})

// Parse reads an expression. Functions that it calls must exist: what else is wrong
// with one than [ErrSyntax].
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

// known checks that all functions exist: what is not type-checked fails only when it
// is evaluated, but in Envoy when it is created.
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

// Evaluate says what the expression comes to with these attributes. The context's end
// is an error of it.
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
