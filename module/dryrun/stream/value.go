package stream

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Value is the value of a property: a string, []byte, int64, uint64, float64, bool,
// time.Time, time.Duration, [Map], [List], [Headers], [Lookup] or [Proto].
type Value any

// Map contains values by name, in order.
type Map []Field

// Field is an entry of a [Map].
type Field struct {
	Name  string
	Value Value
}

// List contains values by index.
type List []Value

// Lookup finds values by name, but can't list them.
type Lookup func(name string) (Value, bool)

// Proto is a protobuf message. Its value as a whole is its bytes.
type Proto struct {
	Bytes  []byte
	Fields Lookup
}

// Find returns the value at a path below a value.
func Find(v Value, path []string) (Value, bool) {
	for _, name := range path {
		found := false
		switch of := v.(type) {
		case Map:
			i := slices.IndexFunc(of, func(f Field) bool { return f.Name == name })
			if found = i >= 0; found {
				v = of[i].Value
			}
		case List:
			i, err := strconv.Atoi(name)
			if found = err == nil && i >= 0 && i < len(of); found {
				v = of[i]
			}
		case Lookup:
			v, found = of(name)
		case Proto:
			v, found = of.Fields(name)
		case *Headers:
			v, found = of.All(name)
		}
		if !found {
			return nil, false
		}
	}
	return v, true
}

// Encode returns a value in the encoding for modules: numbers as eight bytes, lowest first;
// times and durations as nanoseconds; bools as one byte; maps and lists as in
// proxy_get_header_map_pairs. A lookup can't be encoded as a whole.
func Encode(v Value) (b []byte, possible bool) {
	if _, is := v.(Lookup); is {
		return nil, false
	}
	return encode(v), true
}

func encode(v Value) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []byte:
		return v
	case int64:
		return binary.LittleEndian.AppendUint64(nil, uint64(v))
	case uint64:
		return binary.LittleEndian.AppendUint64(nil, v)
	case float64:
		return binary.LittleEndian.AppendUint64(nil, math.Float64bits(v))
	case bool:
		return []byte{byte(bit(v))}
	case time.Time:
		return encode(v.UnixNano())
	case time.Duration:
		return encode(v.Nanoseconds())
	case Proto:
		return v.Bytes
	case *Headers:
		return encode(v.Joined())
	case Map:
		pairs := make([][2]string, 0, len(v))
		for _, f := range v {
			pairs = append(pairs, [2]string{f.Name, string(encode(f.Value))})
		}
		return Marshal(pairs)
	case List:
		pairs := make([][2]string, 0, len(v))
		for _, e := range v {
			pairs = append(pairs, [2]string{string(encode(e)), ""})
		}
		return Marshal(pairs)
	}
	return nil
}

// Marshal encodes pairs for modules: their number, the sizes of each, and then each name
// and value followed by a zero byte.
func Marshal(pairs [][2]string) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(pairs)))
	for _, p := range pairs {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p[0])))
		b = binary.LittleEndian.AppendUint32(b, uint32(len(p[1])))
	}
	for _, p := range pairs {
		b = append(append(b, p[0]...), 0)
		b = append(append(b, p[1]...), 0)
	}
	return b
}

// Leaf is a property that is set for a stream, with its path.
type Leaf struct {
	Path  []string
	Type  leafType
	Value []byte
}

// leafType is the type of the bytes of a leaf. As properties, they are these bytes.
// Expressions distinguish the types.
type leafType string

const (
	leafBytes  leafType = ""
	leafText   leafType = "text"
	leafInt    leafType = "int"
	leafUint   leafType = "uint"
	leafDouble leafType = "double"
	leafBool   leafType = "bool"
)

// Leaves returns the properties that are set for a stream. Names at the top level are
// paths, separated by dots. Those of maps below are plain names.
func Leaves(given map[string]any) ([]Leaf, error) {
	var out []Leaf
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if err := leaves(&out, strings.Split(name, "."), given[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func leaves(out *[]Leaf, path []string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := leaves(out, append(slices.Clone(path), name), v[name]); err != nil {
				return err
			}
		}
		return nil
	case int:
		return leaves(out, path, int64(v))
	case string, []byte, int64, uint64, float64, bool:
		*out = append(*out, Leaf{path, typeOf(v), encode(v)})
		return nil
	}
	return fmt.Errorf("property %s: a %T can't be one: strings, numbers, bools, bytes and maps can", strings.Join(path, "."), v)
}

func typeOf(v any) leafType {
	switch v.(type) {
	case string:
		return leafText
	case int64:
		return leafInt
	case uint64:
		return leafUint
	case float64:
		return leafDouble
	case bool:
		return leafBool
	}
	return leafBytes
}

// value returns the value that the leaf was made from.
func (l Leaf) value() Value {
	switch {
	case l.Type == leafText:
		return string(l.Value)
	case l.Type == leafBool && len(l.Value) == 1:
		return l.Value[0] != 0
	case len(l.Value) != 8:
		return l.Value
	}
	switch n := binary.LittleEndian.Uint64(l.Value); l.Type {
	case leafInt:
		return int64(n)
	case leafUint:
		return n
	case leafDouble:
		return math.Float64frombits(n)
	}
	return l.Value
}

// Tree combines leaves into a map.
func Tree(given []Leaf) Map {
	var m Map
	for _, l := range given {
		m = m.With(l.Path, l.value())
	}
	return m
}

// With sets the value at a path, whatever was there.
func (m Map) With(path []string, v Value) Map {
	i := slices.IndexFunc(m, func(f Field) bool { return f.Name == path[0] })
	if i < 0 {
		i = len(m)
		m = append(m, Field{Name: path[0]})
	}
	if len(path) == 1 {
		m[i].Value = v
		return m
	}
	below, _ := m[i].Value.(Map)
	m[i].Value = below.With(path[1:], v)
	return m
}
