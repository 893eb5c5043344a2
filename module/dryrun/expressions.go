package dryrun

import (
	"encoding/binary"
	"errors"
	"fmt"

	"wasmxds/module/dryrun/abi"
	"wasmxds/module/dryrun/expression"
	"wasmxds/module/dryrun/stream"
)

// expressions are the CEL expressions that a module has created, by number.
type expressions struct {
	all  map[uint32]*created
	next uint32
	size int // total size of their texts, in bytes
}

type created struct {
	*expression.Expression
	size int
}

// A parsed expression takes some hundred times the size of its text.
const (
	maxExpressions     = 1000
	maxExpressionsSize = 256 << 10
)

func createExpression(h *host, text []byte) ([]byte, status) {
	e := &h.exprs
	if len(e.all) >= maxExpressions || e.size+len(text) > maxExpressionsSize {
		panic(&excess{fmt.Sprintf("more than %d expressions, or %d KiB of them", maxExpressions, maxExpressionsSize>>10)})
	}
	parsed, err := expression.Parse(string(text))
	switch {
	case errors.Is(err, expression.ErrTooLarge):
		panic(&excess{err.Error()})
	case errors.Is(err, expression.ErrSyntax):
		return nil, badArgument
	}
	if e.all == nil {
		e.all = map[uint32]*created{}
	}
	for e.all[e.next] != nil {
		e.next++
	}
	token := e.next
	e.next++
	if err != nil { // Envoy uses up the number, too
		return nil, badArgument
	}
	e.all[token] = &created{parsed, len(text)}
	e.size += len(text)
	return binary.LittleEndian.AppendUint32(nil, token), ok
}

func evaluateExpression(h *host, argument []byte) ([]byte, status) {
	if len(argument) != 4 {
		return nil, badArgument
	}
	e := h.exprs.all[binary.LittleEndian.Uint32(argument)]
	if e == nil {
		return nil, notFound
	}
	// As in Envoy, it is evaluated for the stream whose callback runs, whatever context the
	// module has set for its other calls.
	s := h.running
	if s == nil {
		s = h.scopes[0]
	}
	value, err := e.Evaluate(h.ctx, func(path []string) (stream.Value, bool) { return h.attribute(s, path) })
	switch {
	case errors.Is(err, expression.ErrTooDear):
		panic(&excess{err.Error()})
	case h.ctx.Err() != nil:
		panic(h.ctx.Err())
	case errors.Is(err, expression.ErrNoBytes):
		return nil, abi.SerializationFailure
	case err != nil:
		return nil, internalFailure
	}
	b, possible := stream.Encode(value)
	if !possible {
		return nil, abi.SerializationFailure
	}
	return b, ok
}

func deleteExpression(h *host, argument []byte) ([]byte, status) {
	if len(argument) != 4 {
		return nil, badArgument
	}
	token := binary.LittleEndian.Uint32(argument)
	if e := h.exprs.all[token]; e != nil {
		h.exprs.size -= e.size
		delete(h.exprs.all, token)
	}
	return nil, ok
}

// attribute returns a property as expressions see it.
func (h *host) attribute(s *scope, path []string) (stream.Value, bool) {
	value, found := h.property(s, path)
	if b, is := value.([]byte); is && len(path) == 1 && h.textual[path[0]] {
		return string(b), found
	}
	if !found {
		h.missed(path)
	}
	return value, found
}
