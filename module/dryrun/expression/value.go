package expression

import (
	"errors"
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"wasmxds/module/dryrun/stream"
)

// ErrNoBytes means that the value of an expression has no encoding for modules, such as
// null, a type, or attributes as a whole.
var ErrNoBytes = errors.New("an expression comes to what can't be handed over")

const (
	maxElements = 100_000 // of lists and maps in a result: a list added to itself takes no memory, but its elements do when they are encoded
	maxBytes    = 32 << 20
	maxNested   = 100
)

// dear reports whether an evaluation ended because of its cost.
func dear(err error) bool {
	cancelled, is := errors.AsType[interpreter.EvalCancelledError](err)
	return is && cancelled.Cause == interpreter.CostLimitExceeded
}

// valueOf converts a value of CEL to one that can be encoded for modules.
func valueOf(v ref.Val) (stream.Value, error) { return new(result).value(v, 0) }

// result counts the elements of a result.
type result struct{ elements, bytes int }

func (r *result) take(elements, bytes int) error {
	r.elements, r.bytes = r.elements+elements, r.bytes+bytes
	if r.elements > maxElements || r.bytes > maxBytes {
		return ErrTooDear
	}
	return nil
}

func (r *result) value(v ref.Val, depth int) (stream.Value, error) {
	if depth > maxNested {
		return nil, ErrTooDear
	}
	switch v := v.(type) {
	case types.String:
		return string(v), r.take(1, len(v))
	case types.Bytes:
		return []byte(v), r.take(1, len(v))
	case types.Int:
		return int64(v), r.take(1, 8)
	case types.Uint:
		return uint64(v), r.take(1, 8)
	case types.Double:
		return float64(v), r.take(1, 8)
	case types.Bool:
		return bool(v), r.take(1, 1)
	case types.Timestamp:
		return v.Time, r.take(1, 8)
	case types.Duration:
		return v.Duration, r.take(1, 8)
	case *attributes:
		if _, whole := v.value.(stream.Lookup); whole {
			return nil, ErrNoBytes
		}
		return v.value, r.take(len(v.fields()), 0)
	case traits.Mapper:
		return r.entries(v, depth)
	case traits.Lister:
		var all stream.List
		for it := v.Iterator(); it.HasNext() == types.True; {
			e, err := r.value(it.Next(), depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		return all, r.take(1, 0)
	}
	return nil, ErrNoBytes
}

// entries returns the entries of a map, sorted by the bytes of their keys, because this
// implementation of CEL does not keep their order.
func (r *result) entries(m traits.Mapper, depth int) (stream.Value, error) {
	var all stream.Map
	for it := m.Iterator(); it.HasNext() == types.True; {
		k := it.Next()
		name, err := r.value(k, depth+1)
		if err != nil {
			return nil, err
		}
		key, possible := stream.Encode(name)
		if !possible {
			return nil, ErrNoBytes
		}
		value, err := r.value(m.Get(k), depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, stream.Field{Name: string(key), Value: value})
	}
	slices.SortFunc(all, func(a, b stream.Field) int { return strings.Compare(a.Name, b.Name) })
	return all, r.take(1, 0)
}
