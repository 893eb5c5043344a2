package document

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Decode fills the struct that into points to. Fields are named by their json
// tags. It also uses these tags:
//
//	jsonschema:"required,enum=a,enum=b"   the field is required, and not empty text; it has one of these values
//	refuse:"reason"                       the field must be absent or empty
//
// A field of type *Node accepts any value. Null is treated as absent. Decode
// reports all unknown fields, missing fields and wrong types, and still fills
// in what is correct. It stops after MaxProblems. The path is put before the
// names of fields.
func (n *Node) Decode(into any, path string) []Problem {
	d := &decoder{fields: map[reflect.Type][]field{}}
	d.value(n, reflect.ValueOf(into).Elem(), path, n.Line)
	return d.problems
}

// Names returns the fields of a struct that Decode fills, in their order.
func Names(of any) []string {
	t := reflect.TypeOf(of)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	var names []string
	for _, f := range fieldsOf(t) {
		names = append(names, f.name)
	}
	return names
}

type decoder struct {
	problems []Problem
	fields   map[reflect.Type][]field // by struct: parsing the tags takes longer than filling the struct
}

func (d *decoder) fieldsOf(t reflect.Type) []field {
	fields, ok := d.fields[t]
	if !ok {
		fields = fieldsOf(t)
		d.fields[t] = fields
	}
	return fields
}

func (d *decoder) problem(line int, path, hint, format string, args ...any) {
	d.problems = append(d.problems, Problem{Line: line, Field: path, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

var nodeType = reflect.TypeFor[*Node]()

func (d *decoder) value(n *Node, v reflect.Value, path string, line int) {
	if len(d.problems) > MaxProblems {
		return
	}
	if v.Type() == nodeType {
		v.Set(reflect.ValueOf(n))
		return
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), path, line)
		return
	}
	want := kindOf(v.Kind())
	if n.Kind != want {
		hint := ""
		if want == Text && (n.Kind == Bool || n.Kind == Number) {
			hint = fmt.Sprintf("put it in quotes: %q", n.Text)
		}
		d.problem(line, path, hint, "%s, needs %s", n.Kind, want)
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.Text)
	case reflect.Bool:
		v.SetBool(n.Text == "true")
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(n.Items), len(n.Items)))
		for i, item := range n.Items {
			d.value(item, v.Index(i), Index(path, i), item.Line)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, f := range n.Fields {
			item := reflect.New(v.Type().Elem()).Elem()
			d.value(f.Value, item, Join(path, f.Key), f.Line)
			v.SetMapIndex(reflect.ValueOf(f.Key).Convert(v.Type().Key()), item)
		}
	default:
		d.number(n, v, path, line)
	}
}

func kindOf(k reflect.Kind) Kind {
	switch k {
	case reflect.String:
		return Text
	case reflect.Bool:
		return Bool
	case reflect.Struct, reflect.Map:
		return Object
	case reflect.Slice:
		return List
	}
	return Number
}

func (d *decoder) number(n *Node, v reflect.Value, path string, line int) {
	bits := v.Type().Bits()
	if v.CanInt() {
		i, err := strconv.ParseInt(n.Text, 10, bits)
		limit := int64(1)<<(bits-1) - 1
		switch {
		case err == nil:
			v.SetInt(i)
		case bits == 64:
			d.problem(line, path, "", "%s, needs a whole number", n.Text)
		default:
			d.problem(line, path, "", "%s, needs a whole number from %d to %d", n.Text, -limit-1, limit)
		}
		return
	}
	u, err := strconv.ParseUint(n.Text, 10, bits)
	if err != nil {
		d.problem(line, path, "", "%s, needs a whole number from 0 to %d", n.Text, ^uint64(0)>>(64-bits))
		return
	}
	v.SetUint(u)
}

func (d *decoder) object(n *Node, v reflect.Value, path string) {
	fields := d.fieldsOf(v.Type())
	for _, f := range n.Fields {
		if len(d.problems) > MaxProblems {
			return
		}
		at := Join(path, f.Key)
		i := slices.IndexFunc(fields, func(known field) bool { return known.name == f.Key })
		if i < 0 {
			names := make([]string, 0, len(fields))
			for _, known := range fields {
				if known.refuse == "" {
					names = append(names, known.name)
				}
			}
			d.problem(f.Line, at, Suggest(f.Key, names), "unknown field")
			continue
		}
		known := fields[i]
		if f.Value.Kind == Null {
			continue
		}
		if known.refuse != "" && f.Value.empty() {
			continue
		}
		if known.refuse != "" {
			d.problem(f.Line, at, "", "%s", known.refuse)
			continue
		}
		before := len(d.problems)
		d.value(f.Value, v.FieldByIndex(known.index), at, f.Line)
		if len(known.enum) > 0 && len(d.problems) == before && !slices.Contains(known.enum, f.Value.Text) {
			d.problem(f.Line, at, "", "%q is not one of %s", f.Value.Text, strings.Join(known.enum, ", "))
		}
	}
	for _, known := range fields {
		if !known.required {
			continue
		}
		switch value := n.Get(known.name); {
		case value == nil:
			d.problem(n.Line, Join(path, known.name), "", "is missing")
		case value.Kind == Text && value.Text == "" && len(known.enum) == 0:
			d.problem(n.LineOf(known.name), Join(path, known.name), "", "is empty")
		}
	}
}

type field struct {
	name     string
	index    []int
	required bool
	omit     bool // omit the field if it is empty, when writing
	enum     []string
	refuse   string
}

// fieldsOf parses the tags of a struct, including those of embedded structs.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for _, sf := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if sf.Anonymous || name == "" || name == "-" {
			continue
		}
		f := field{name: name, index: sf.Index, refuse: sf.Tag.Get("refuse"), omit: options == "omitempty"}
		for word := range strings.SplitSeq(sf.Tag.Get("jsonschema"), ",") {
			if value, ok := strings.CutPrefix(word, "enum="); ok {
				f.enum = append(f.enum, value)
			}
			f.required = f.required || word == "required"
		}
		fields = append(fields, f)
	}
	return fields
}
