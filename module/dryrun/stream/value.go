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

// Value is what a property is: string, []byte, int64, uint64, float64, bool,
// time.Time, time.Duration, a [Map], a [List], [Headers], a [Lookup] or a [Proto].
type Value any

// Map has values by name, in an order.
type Map []Field

// Field is one of a [Map].
type Field struct {
	Name  string
	Value Value
}

// List has values by number.
type List []Value

// Lookup knows values by name, and does not tell which there are.
type Lookup func(name string) (Value, bool)

// Proto is a message of protobuf: its bytes are what it is as a whole.
type Proto struct {
	Bytes  []byte
	Fields Lookup
}

// Find gives what is behind a path below a value.
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

// Encode gives a value as modules get it: numbers as eight bytes, the lowest
// first, times and durations as nanoseconds, bools as one byte, and maps and lists
// as proxy_get_header_map_pairs has them. A lookup can't be told as a whole.
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

// Marshal writes pairs as modules read them: their number, the sizes of each,
// and then each name and value with a zero byte behind it.
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

// Leaf is a property that a stream is given, by its path.
type Leaf struct {
	Path  []string
	Type  leafType
	Value []byte
}

// leafType says what the bytes of a leaf are: a property as a whole is these bytes,
// expressions tell them apart.
type leafType string

const (
	leafBytes  leafType = ""
	leafText   leafType = "text"
	leafInt    leafType = "int"
	leafUint   leafType = "uint"
	leafDouble leafType = "double"
	leafBool   leafType = "bool"
)

// Leaves are the properties that a stream is given. Names at the top are paths
// with dots between; those of maps below are as they are.
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

// value is what the leaf was made of.
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

// Tree puts leaves together.
func Tree(given []Leaf) Map {
	var m Map
	for _, l := range given {
		m = m.With(l.Path, l.value())
	}
	return m
}

// With has a value at a path, whatever was there.
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
