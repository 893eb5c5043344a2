// Package document reads YAML and JSON strictly, with the position of every
// value.
//
// Start with [YAML] or [JSON], which return one [Node] for each document, and
// [Node.Decode], which fills a struct from it. All errors are returned as
// [Problem]s in one pass, each with its line. Input is bounded in size, depth
// and expansion of YAML aliases, so that no file, however crafted, takes more
// than a few hundred megabytes or a few seconds.
package document

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of the input. A file beyond one of them is rejected as a whole.
const (
	MaxSize  = 4 << 20 // size of a file in bytes
	MaxDepth = 100     // nesting of mappings and lists
	MaxNodes = 500_000 // values in a file, counted again for each alias
)

// MaxProblems bounds the number of reported problems: nobody reads more.
const MaxProblems = 100

// Kind is the type of a Node, in JSON's terms.
type Kind int

const (
	Null Kind = iota
	Bool
	Number
	Text
	List
	Object
)

var kindNames = [...]string{"null", "true or false", "a number", "text", "a list", "a mapping"}

func (k Kind) String() string { return kindNames[k] }

// Node is a value with its position. It must not be modified.
type Node struct {
	Kind   Kind
	Line   int     // from 1
	Text   string  // for Text: its value; for Bool and Number: in JSON's form
	Plain  string  // for a Number in YAML: as written there
	Items  []*Node // for List
	Fields []Field // for Object, in the order of the file; keys are unique
}

// Field is one entry of an Object.
type Field struct {
	Key   string
	Line  int
	Value *Node
}

// Problem describes an error in a document.
type Problem struct {
	Line    int
	Field   string // path, such as routes[0].prefix
	Message string
	Hint    string
}

// TextOf returns the value of a Text node. It returns "" for any other node and
// for nil.
func TextOf(n *Node) string {
	if n == nil || n.Kind != Text {
		return ""
	}
	return n.Text
}

// Folded returns a word in lower case, without underscores: the same for a key in either
// case style.
func Folded(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }

// Only returns an object with only these fields of n.
func (n *Node) Only(keys ...string) *Node {
	less := &Node{Kind: Object}
	for _, key := range keys {
		if value := n.Get(key); value != nil {
			less.Fields = append(less.Fields, Field{Key: key, Line: value.Line, Value: value})
		}
	}
	return less
}

// Exact decodes n and reports whether there were no problems.
func (n *Node) Exact(into any) bool { return len(n.Decode(into, "")) == 0 }

// Walk calls visit for n and all nodes within it.
func (n *Node) Walk(visit func(*Node)) {
	if n == nil {
		return
	}
	visit(n)
	for _, item := range n.Items {
		item.Walk(visit)
	}
	for _, f := range n.Fields {
		f.Value.Walk(visit)
	}
}

// Get returns the value of a field, or nil if the field is absent or null.
func (n *Node) Get(key string) *Node {
	if n == nil {
		return nil
	}
	for _, f := range n.Fields {
		if f.Key == key && f.Value.Kind != Null {
			return f.Value
		}
	}
	return nil
}

// empty reports whether n is an empty list, mapping or text.
func (n *Node) empty() bool {
	return n.Kind >= Text && n.Text == "" && len(n.Items) == 0 && len(n.Fields) == 0
}

// Without returns a copy of an object without these fields.
func (n *Node) Without(keys ...string) *Node {
	less := *n
	less.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f Field) bool { return slices.Contains(keys, f.Key) })
	return &less
}

// LineOf returns the line of a field by its path ("module.sha256",
// "routes[0].prefix"), or of the innermost part of the path that exists.
func (n *Node) LineOf(path string) int {
	line := n.Line
	for _, step := range Steps(path) {
		next, at := n.step(step)
		if next == nil {
			break
		}
		n, line = next, at
	}
	return line
}

func (n *Node) step(step string) (*Node, int) {
	if i, err := strconv.Atoi(step); err == nil && n.Kind == List {
		if i < 0 || i >= len(n.Items) {
			return nil, 0
		}
		return n.Items[i], n.Items[i].Line
	}
	for _, f := range n.Fields {
		if f.Key == step {
			return f.Value, f.Line
		}
	}
	return nil, 0
}

// Steps splits a path into keys and indices: a.b[0] is a, b, 0.
func Steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// Join appends a key to a path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Index appends an index to a path.
func Index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// JSON returns the value as compact JSON with sorted keys. Equal values have
// the same bytes, however they are written.
func (n *Node) JSON() []byte { return n.appendJSON(nil) }

func (n *Node) appendJSON(b []byte) []byte {
	switch n.Kind {
	case Null:
		return append(b, "null"...)
	case Bool, Number:
		return append(b, n.Text...)
	case Text:
		return appendText(b, n.Text)
	case List:
		b = append(b, '[')
		for i, item := range n.Items {
			if i > 0 {
				b = append(b, ',')
			}
			b = item.appendJSON(b)
		}
		return append(b, ']')
	default:
		fields := slices.SortedFunc(slices.Values(n.Fields), func(a, b Field) int { return strings.Compare(a.Key, b.Key) })
		b = append(b, '{')
		for i, f := range fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendText(b, f.Key), ':')
			b = f.Value.appendJSON(b)
		}
		return append(b, '}')
	}
}

// appendText appends s as a JSON string, without escaping <, > and &.
func appendText(b []byte, s string) []byte {
	if !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
		return append(append(append(b, '"'), s...), '"')
	}
	var w strings.Builder
	e := json.NewEncoder(&w)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil { // can't happen: any string has a JSON form
		return strconv.AppendQuote(b, s)
	}
	return append(b, strings.TrimSuffix(w.String(), "\n")...)
}

// Place is a value that [Node.Lines] has written.
type Place struct {
	Path string
	Line int // in the document
	Node *Node
	In   *Node // the node that contains it; nil: it is the document
}

// Lines writes the value as JSON with each field and each item on a line of its
// own, and returns the place of each of these lines. This traces a parser's
// error in the JSON back to the document. Nodes in skip are left out.
func (n *Node) Lines(skip map[*Node]bool) ([]byte, []Place) {
	w := &lineWriter{skip: skip, places: []Place{{Line: n.Line, Node: n}}}
	w.write(n, "", n.Line)
	return w.out, w.places
}

type lineWriter struct {
	out    []byte
	places []Place // by line of out
	skip   map[*Node]bool
}

func (w *lineWriter) newLine(p Place) {
	w.out = append(w.out, '\n')
	w.places = append(w.places, p)
}

func (w *lineWriter) write(n *Node, path string, line int) {
	open, end := byte('{'), byte('}')
	switch n.Kind {
	case List:
		open, end = '[', ']'
	case Object:
	default:
		w.out = n.appendJSON(w.out)
		return
	}
	w.out = append(w.out, open)
	separate := false
	child := func(value *Node, path string, line int, key string) {
		if w.skip[value] {
			return
		}
		if separate {
			w.out = append(w.out, ',')
		}
		separate = true
		w.newLine(Place{Path: path, Line: line, Node: value, In: n})
		if n.Kind == Object {
			w.out = append(appendText(w.out, key), ':')
		}
		w.write(value, path, line)
	}
	for i, item := range n.Items {
		child(item, Index(path, i), item.Line, "")
	}
	for _, f := range n.Fields {
		child(f.Value, Join(path, f.Key), f.Line, f.Key)
	}
	w.newLine(Place{Path: path, Line: line, Node: n})
	w.out = append(w.out, end)
}

// tooMuch returns the problem of a file beyond one of the bounds.
func tooMuch(line int, format string, args ...any) Problem {
	return Problem{Line: line, Message: fmt.Sprintf(format, args...)}
}

// Child returns an item by its index or a field by its key, or nil if there is
// none.
func (n *Node) Child(step string) *Node {
	child, _ := n.step(step)
	return child
}

// At returns the node at a path, or nil if there is none.
func (n *Node) At(path string) *Node {
	for _, step := range Steps(path) {
		if n = n.Child(step); n == nil {
			return nil
		}
	}
	return n
}

// Locate returns the path, as written in this document, of a field of an Envoy
// message. Keys may be written in lowerCamelCase or snake_case, and a list of
// one as its item. Steps that are not in the document keep their names.
func (n *Node) Locate(steps []string) string {
	path := ""
	for _, step := range steps {
		if i, err := strconv.Atoi(step); err == nil && (n == nil || n.Kind == List) {
			path = Index(path, i)
			if n != nil {
				n = n.Child(step)
			}
			continue
		}
		if step == "0" && n.Child(step) == nil {
			continue // one item in place of a list of one, which Envoy accepts
		}
		var next *Node
		if n != nil {
			for _, f := range n.Fields {
				if f.Key == step || Folded(f.Key) == Folded(step) {
					step, next = f.Key, f.Value
					break
				}
			}
		}
		path, n = Join(path, step), next
	}
	return path
}
