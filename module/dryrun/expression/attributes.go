package expression

import (
	"fmt"
	"reflect"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"wasmxds/module/dryrun/stream"
)

// activation resolves the names that an expression begins with.
type activation struct{ find Find }

func (a *activation) Parent() cel.Activation { return nil }

func (a *activation) ResolveName(name string) (any, bool) {
	value, found := a.find([]string{name})
	if !found {
		return nil, false
	}
	return a.find.at([]string{name}, value), true
}

// at returns the value at a path, converted to CEL.
func (find Find) at(path []string, v stream.Value) ref.Val {
	switch v := v.(type) {
	case string:
		return types.String(v)
	case []byte:
		return types.Bytes(v)
	case int64:
		return types.Int(v)
	case uint64:
		return types.Uint(v)
	case float64:
		return types.Double(v)
	case bool:
		return types.Bool(v)
	case time.Time:
		return types.Timestamp{Time: v}
	case time.Duration:
		return types.Duration{Duration: v}
	case stream.List:
		all := make([]ref.Val, len(v))
		for i, e := range v {
			all[i] = find.at(nil, e)
		}
		return types.NewRefValList(types.DefaultTypeAdapter, all)
	case stream.Map:
		return &attributes{value: v, find: find, path: path, names: func() stream.Map { return v }}
	case *stream.Headers:
		return &attributes{value: v, find: find, path: path, names: v.Joined}
	case stream.Lookup, stream.Proto:
		return &attributes{value: v, find: find, path: path}
	}
	return types.NewErr("a value of type %T has no place in an expression", v)
}

// attributes is a map that looks values up by their whole paths, so that attributes that
// are set for a stream take precedence over those that are derived from it.
type attributes struct {
	value stream.Value
	find  Find
	path  []string          // nil: elements have no path, because this is in a list
	names func() stream.Map // nil: the names can't be listed
}

func (a *attributes) Find(key ref.Val) (ref.Val, bool) {
	name, is := key.(types.String)
	if !is {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	if a.path == nil {
		value, found := stream.Find(a.value, []string{string(name)})
		if !found {
			return nil, false
		}
		return a.find.at(nil, value), true
	}
	path := append(a.path[:len(a.path):len(a.path)], string(name))
	value, found := a.find(path)
	if !found {
		return nil, false
	}
	return a.find.at(path, value), true
}

func (a *attributes) Get(key ref.Val) ref.Val {
	value, found := a.Find(key)
	if !found && value == nil {
		return types.NewErr("no such key: %v", key)
	}
	return value
}

func (a *attributes) Contains(key ref.Val) ref.Val {
	value, found := a.Find(key)
	if !found && value != nil {
		return value
	}
	return types.Bool(found)
}

func (a *attributes) Size() ref.Val { return types.Int(len(a.fields())) }

func (a *attributes) fields() stream.Map {
	if a.names == nil {
		return nil
	}
	return a.names()
}

func (a *attributes) Iterator() traits.Iterator {
	fields := a.fields()
	names := make([]ref.Val, len(fields))
	for i, f := range fields {
		names[i] = types.String(f.Name)
	}
	return types.NewRefValList(types.DefaultTypeAdapter, names).Iterator()
}

func (a *attributes) Equal(other ref.Val) ref.Val {
	o, is := other.(traits.Mapper)
	if !is || o.Size() != a.Size() {
		return types.False
	}
	for _, f := range a.fields() {
		mine := a.Get(types.String(f.Name))
		its, found := o.Find(types.String(f.Name))
		if !found || mine.Equal(its) != types.True {
			return types.False
		}
	}
	return types.Bool(a.names != nil)
}

func (a *attributes) Type() ref.Type { return types.MapType }
func (a *attributes) Value() any     { return a }

func (a *attributes) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("attributes can't be converted to %v", to)
}

func (a *attributes) ConvertToType(to ref.Type) ref.Val {
	switch to {
	case types.MapType:
		return a
	case types.TypeType:
		return types.MapType
	}
	return types.NewErr("attributes can't be converted to %v", to)
}
