package document

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// YAML reads the documents of a YAML file. It leaves out empty ones.
func YAML(data []byte) ([]*Node, []Problem) {
	if p, bad := unreadable(data); bad {
		return nil, []Problem{p}
	}
	var docs []*Node
	r := &yamlReader{templated: templated(data)}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, r.problems
		}
		if err != nil {
			p := syntaxProblem(err, data)
			p.Hint = cmp.Or(p.Hint, r.templated)
			return docs, append(r.problems, p)
		}
		if len(doc.Content) == 0 {
			continue
		}
		n := r.node(doc.Content[0], 1)
		if r.full {
			return docs, r.problems
		}
		if n.Kind != Null {
			docs = append(docs, n)
		}
	}
}

// unreadable rejects data that can't be a document.
func unreadable(data []byte) (Problem, bool) {
	switch {
	case len(data) > MaxSize:
		return tooMuch(0, "%d bytes, %d at most", len(data), MaxSize), true
	case !utf8.Valid(data):
		return Problem{Message: "is not text in UTF-8"}, true
	}
	return Problem{}, false
}

// templated returns a hint if the data looks like a template, and otherwise "".
func templated(data []byte) string {
	if hasAny(data, "{{", "{%", "<%") {
		return "a template is rendered before it comes here, as by helm template"
	}
	return ""
}

// Placeholder returns a hint if a line has a placeholder that was not replaced,
// and otherwise "".
func Placeholder(line []byte) string {
	if hasAny(line, "${", "{{", "{%", "<%") {
		return "a placeholder is replaced before the file comes here, as by envsubst or helm template"
	}
	return ""
}

func hasAny(data []byte, marks ...string) bool {
	return slices.ContainsFunc(marks, func(mark string) bool { return bytes.Contains(data, []byte(mark)) })
}

// isControl reports whether YAML forbids a character.
func isControl(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f
}

var yamlErrorLine = regexp.MustCompile(`^yaml: line (\d+): `)

func syntaxProblem(err error, data []byte) Problem {
	p := Problem{Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: "), Line: 1} // the reader leaves out line 1
	if i := bytes.IndexFunc(data, isControl); i >= 0 && strings.Contains(p.Message, "control characters") {
		p.Line += bytes.Count(data[:i], []byte("\n")) // the reader gives no line
	}
	if m := yamlErrorLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Message = "not YAML: " + strings.TrimPrefix(err.Error(), m[0])
	}
	if strings.Contains(p.Message, "cannot start any token") {
		p.Hint = "YAML is indented by spaces, not tabs; text that begins with @, ` or % needs quotes"
	}
	return p
}

// yamlReader converts YAML's nodes to Nodes. It expands aliases, and counts the
// copies against MaxNodes.
type yamlReader struct {
	templated string // hint, if the file looks like a template
	problems  []Problem
	nodes     int
	full      bool // a bound was exceeded; nothing more is read
}

func (r *yamlReader) problem(line int, field, hint, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Field: field, Hint: hint, Message: fmt.Sprintf(format, args...)})
	r.full = r.full || len(r.problems) > MaxProblems
}

func (r *yamlReader) node(y *yaml.Node, depth int) *Node {
	n := &Node{Line: y.Line}
	if r.nodes++; r.full {
		return n
	}
	switch {
	case depth > MaxDepth:
		r.full = true
		r.problem(y.Line, "", "", "is nested more than %d levels deep", MaxDepth)
		return n
	case r.nodes > MaxNodes:
		r.full = true
		r.problem(y.Line, "", "", "%d values at most, aliases counted by what they stand for", MaxNodes)
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return r.node(y.Alias, depth+1)
	case yaml.MappingNode:
		n.Kind = Object
		r.fields(n, y, depth)
	case yaml.SequenceNode:
		n.Kind = List
		for _, item := range y.Content {
			n.Items = append(n.Items, r.node(item, depth+1))
		}
	case yaml.ScalarNode:
		r.scalar(n, y)
	}
	if tag := y.ShortTag(); !strings.HasPrefix(tag, "!!") {
		r.problem(y.Line, "", "", "YAML tag %s is not supported", tag)
	}
	return n
}

func (r *yamlReader) fields(n *Node, y *yaml.Node, depth int) {
	first := map[string]int{}
	for i := 0; i+1 < len(y.Content) && !r.full; i += 2 {
		key := y.Content[i]
		for range 10 { // a key may be an alias, but never an alias of an alias
			if key.Kind == yaml.AliasNode {
				key = key.Alias
			}
		}
		if key.Kind != yaml.ScalarNode {
			r.problem(y.Content[i].Line, "", r.templated, "a field's name is %s, needs text", yamlKind(key))
			continue
		}
		if key.Tag == "!ignore" { // Envoy's tag for values that only aliases refer to
			continue
		}
		if key.ShortTag() == "!!merge" {
			r.problem(key.Line, "<<", "write the fields out", "merge keys are not read")
			continue
		}
		line, twice := first[key.Value]
		if twice {
			r.problem(y.Content[i].Line, key.Value, "", "written twice; first in line %d", line)
			continue
		}
		first[key.Value] = y.Content[i].Line
		n.Fields = append(n.Fields, Field{Key: key.Value, Line: y.Content[i].Line, Value: r.node(y.Content[i+1], depth+1)})
	}
}

func yamlKind(y *yaml.Node) Kind {
	if y.Kind == yaml.SequenceNode {
		return List
	}
	return Object
}

func (r *yamlReader) scalar(n *Node, y *yaml.Node) {
	n.Kind, n.Text = Text, y.Value
	var v any
	switch y.ShortTag() {
	case "!!null":
		n.Kind, n.Text = Null, ""
		return
	case "!!bool", "!!int", "!!float":
		if err := y.Decode(&v); err != nil {
			r.problem(y.Line, "", "", "%q is not %s", y.Value, y.ShortTag())
			return
		}
	}
	switch v := v.(type) {
	case bool:
		n.Kind, n.Text = Bool, strconv.FormatBool(v)
	case int:
		n.Kind, n.Text = Number, strconv.Itoa(v)
	case int64:
		n.Kind, n.Text = Number, strconv.FormatInt(v, 10)
	case uint64:
		n.Kind, n.Text = Number, strconv.FormatUint(v, 10)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) { // JSON has no number for these
			return
		}
		n.Kind, n.Text = Number, strconv.FormatFloat(v, 'g', -1, 64)
	}
	if n.Kind == Number {
		n.Plain = y.Value
	}
}
