package document

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"wasmxds/printable"
)

// Doc is a document for Write.
type Doc struct {
	Comment string // lines before the document
	Value   any    // a struct as for Decode, or a *Node
}

// Write writes documents as YAML, with fields in the order of the structs,
// below an optional comment. It is the inverse of [YAML] and [Node.Decode].
func Write(comment string, docs []Doc) ([]byte, error) {
	var out bytes.Buffer
	if comment != "" {
		fmt.Fprintf(&out, "%s\n\n", commented(comment))
	}
	if len(docs) == 0 {
		return out.Bytes(), nil
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	for _, d := range docs {
		n := encode(reflect.ValueOf(d.Value))
		if d.Comment != "" && len(n.Content) > 0 {
			n.Content[0].HeadComment = commented(d.Comment)
		}
		if err := enc.Encode(n); err != nil {
			return nil, fmt.Errorf("write YAML: %w", err)
		}
	}
	if err := enc.Close(); err != nil {
		return nil, fmt.Errorf("write YAML: %w", err)
	}
	return out.Bytes(), nil
}

func commented(lines string) string {
	var b strings.Builder
	for line := range strings.Lines(lines) {
		b.WriteString("# " + printable.Text(strings.TrimSuffix(line, "\n")) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func encode(v reflect.Value) *yaml.Node {
	if v.Type() == nodeType {
		return v.Interface().(*Node).yaml()
	}
	n := &yaml.Node{}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Struct:
		n.Kind = yaml.MappingNode
		for _, f := range fieldsOf(v.Type()) {
			value := v.FieldByIndex(f.index)
			if f.omit && (value.IsZero() || value.Kind() != reflect.Pointer && value.Kind() != reflect.Struct && size(value) == 0) {
				continue
			}
			n.Content = append(n.Content, text(f.name), encode(value))
		}
	case reflect.Slice:
		n.Kind = yaml.SequenceNode
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		if v.Len() == 0 || size(v.Index(0)) < 0 {
			n.Style = yaml.FlowStyle // for lists of scalars
		}
	case reflect.Map:
		n.Kind = yaml.MappingNode
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, key := range keys {
			n.Content = append(n.Content, text(key.String()), encode(v.MapIndex(key)))
		}
	case reflect.String:
		return text(v.String())
	case reflect.Bool:
		return scalar("!!bool", strconv.FormatBool(v.Bool()))
	default:
		return scalar("!!int", fmt.Sprint(v.Interface()))
	}
	return n
}

// size returns the length of a list or mapping, or -1 for any other value.
func size(v reflect.Value) int {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len()
	case reflect.Struct:
		return v.NumField()
	}
	return -1
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	if printable.Lines(s) != s {
		n.Style = yaml.DoubleQuotedStyle // so that its escapes are interpreted
	}
	return n
}

func scalar(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

func (n *Node) yaml() *yaml.Node {
	y := &yaml.Node{}
	switch n.Kind {
	case Null:
		return scalar("!!null", "null")
	case Bool:
		return scalar("!!bool", n.Text)
	case Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: n.Text}
	case Text:
		return text(n.Text)
	case List:
		y.Kind = yaml.SequenceNode
		for _, item := range n.Items {
			y.Content = append(y.Content, item.yaml())
		}
	case Object:
		y.Kind = yaml.MappingNode
		for _, f := range n.Fields {
			y.Content = append(y.Content, text(f.Key), f.Value.yaml())
		}
	}
	return y
}
