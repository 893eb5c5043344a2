package document

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// JSON reads the concatenated values of a JSON file.
func JSON(data []byte) ([]*Node, []Problem) { return readJSON(&jsonReader{data: data, line: 1}) }

// Unlined reads JSON that no person wrote: all lines are 0.
func Unlined(data []byte) ([]*Node, []Problem) {
	docs, problems := readJSON(&jsonReader{data: data, unlined: true})
	for i := range problems {
		problems[i].Line = 0
	}
	return docs, problems
}

func readJSON(r *jsonReader) ([]*Node, []Problem) {
	data := r.data
	if p, bad := unreadable(data); bad {
		return nil, []Problem{p}
	}
	r.dec = json.NewDecoder(bytes.NewReader(data))
	r.dec.UseNumber()
	var docs []*Node
	for {
		token, err := r.dec.Token()
		if errors.Is(err, io.EOF) {
			return docs, r.problems
		}
		var n *Node
		if err == nil {
			n, err = r.node(token, 1)
		}
		if err != nil {
			return docs, append(r.problems, r.syntaxProblem(err))
		}
		if n.Kind != Null {
			docs = append(docs, n)
		}
	}
}

type jsonReader struct {
	dec      *json.Decoder
	data     []byte
	read     int // bytes of data whose lines have been counted
	line     int
	unlined  bool
	nodes    int
	problems []Problem
}

// here returns the line of the last token.
func (r *jsonReader) here() int {
	if r.unlined {
		return 0
	}
	to := int(r.dec.InputOffset())
	r.line += bytes.Count(r.data[r.read:to], []byte("\n"))
	r.read = to
	return r.line
}

func (r *jsonReader) syntaxProblem(err error) Problem {
	var syntax *json.SyntaxError
	var much *boundError
	switch {
	case errors.As(err, &much):
		return tooMuch(r.here(), "%s", much.message)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return Problem{Line: 1 + bytes.Count(bytes.TrimRight(r.data, "\n"), []byte("\n")), Message: "not JSON: ends in the middle of a value"}
	case errors.As(err, &syntax):
		to := min(max(int(syntax.Offset)-1, 0), len(r.data))
		return Problem{Line: 1 + bytes.Count(r.data[:to], []byte("\n")), Message: "not JSON: " + strings.TrimPrefix(err.Error(), "json: "), Hint: cmp.Or(templated(r.data), notInJSON(err.Error()))}
	}
	return Problem{Line: r.here(), Message: "not JSON: " + strings.TrimPrefix(err.Error(), "json: ")}
}

// notInJSON returns a hint if an error of the decoder is about what people often
// write and JSON does not have, and otherwise "".
func notInJSON(message string) string {
	_, message, _ = strings.Cut(message, "invalid character ")
	switch {
	case strings.HasPrefix(message, "'/'"), strings.HasPrefix(message, "'#'"):
		return "JSON has no comments; YAML has, after #: name the file .yaml"
	case strings.HasPrefix(message, "'}' looking for"), strings.HasPrefix(message, "']' looking for"):
		return "JSON has no comma after the last entry; YAML may have one: name the file .yaml"
	}
	return ""
}

type boundError struct{ message string }

func (e *boundError) Error() string { return e.message }

func (r *jsonReader) node(token json.Token, depth int) (*Node, error) {
	n := &Node{Line: r.here()}
	if r.nodes++; r.nodes > MaxNodes {
		return nil, &boundError{fmt.Sprintf("%d values at most", MaxNodes)}
	}
	if depth > MaxDepth {
		return nil, &boundError{fmt.Sprintf("is nested more than %d levels deep", MaxDepth)}
	}
	switch token := token.(type) {
	case nil:
	case bool:
		n.Kind, n.Text = Bool, fmt.Sprint(token)
	case json.Number:
		n.Kind, n.Text = Number, token.String()
	case string:
		n.Kind, n.Text = Text, token
	case json.Delim:
		if token == '[' {
			n.Kind = List
			return n, r.items(n, depth)
		}
		n.Kind = Object
		return n, r.fields(n, depth)
	}
	return n, nil
}

func (r *jsonReader) items(n *Node, depth int) error {
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		item, err := r.node(token, depth+1)
		if err != nil {
			return err
		}
		n.Items = append(n.Items, item)
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) fields(n *Node, depth int) error {
	first := map[string]int{}
	for r.dec.More() {
		token, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, line := token.(string), r.here()
		if token, err = r.dec.Token(); err != nil {
			return err
		}
		value, err := r.node(token, depth+1)
		if err != nil {
			return err
		}
		if before, twice := first[key]; twice {
			if len(r.problems) > MaxProblems {
				continue
			}
			r.problems = append(r.problems, Problem{Line: line, Field: key, Message: fmt.Sprintf("written twice; first in line %d", before)})
			continue
		}
		first[key] = line
		n.Fields = append(n.Fields, Field{Key: key, Line: line, Value: value})
	}
	_, err := r.dec.Token()
	return err
}
