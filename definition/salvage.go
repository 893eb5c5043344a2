package definition

import (
	"bytes"
	"regexp"
	"unicode/utf8"

	"wasmxds/definition/internal/document"
)

// maxSalvaged bounds how many documents of a file, and fields of a document,
// are examined if the file can't be read completely.
const maxSalvaged = 1000

var (
	documentMark = regexp.MustCompile(`(?m)^---(?:\s|$)`)
	topLevelKey  = regexp.MustCompile(`(?m)^["']?([@A-Za-z]\w*)["']?[ \t]*:`)
)

// salvage returns holes for what may be in a file that can't be read to its
// end, or whose fields are ambiguous.
func salvage(name string, data []byte, kinds []Kind, cause Problem) []*Hole {
	if len(data) > MaxSize || !utf8.Valid(data) {
		return []*Hole{Unread(cause)}
	}
	s := salvager{name: name, kinds: kinds, cause: cause}
	read := reader(name)
	roots, found := read(data)
	marks := documentMark.FindAllIndex(data, maxSalvaged+1)
	switch {
	case len(roots) > maxSalvaged || len(marks) > maxSalvaged:
		return []*Hole{Unread(cause)}
	case isJSON(name):
		s.allInDoubt(roots, found, 0)
	default:
		start := 0
		for _, at := range append(marks, []int{len(data), len(data)}) {
			s.document(data[start:at[0]], bytes.Count(data[:start], []byte("\n")))
			start = at[1]
		}
	}
	return s.holes
}

type salvager struct {
	name  string
	kinds []Kind
	cause Problem // first problem of the file
	holes []*Hole
}

func (s *salvager) problem(p document.Problem, above int) Problem {
	return Problem{File: s.name, Line: p.Line + above, Field: p.Field, Message: p.Message, Hint: p.Hint}
}

func (s *salvager) add(holes []*Hole, above int) {
	for _, h := range holes {
		h.Pos.Line += above
		s.holes = append(s.holes, h)
	}
}

// document examines one YAML document that begins after the given number of
// lines.
func (s *salvager) document(text []byte, above int) {
	roots, found := document.YAML(text)
	switch {
	case len(found) == 0:
		p := newParser(s.name, s.kinds)
		for _, root := range roots {
			p.document(root, false)
		}
		p.end()
		s.add(p.holes, above)
		s.add(p.file.Holes(s.cause), above)
	case len(roots) > 0:
		s.allInDoubt(roots, found, above)
	default:
		s.fields(text, above, s.problem(found[0], above))
	}
}

// allInDoubt adds holes for the documents before a part that can't be read.
func (s *salvager) allInDoubt(roots []*document.Node, found []document.Problem, above int) {
	for _, root := range roots {
		s.inDoubt(root, above, s.problem(found[0], above))
	}
	for _, p := range found {
		if p.Field == "" { // not about a field, so reading may have ended there
			s.holes = append(s.holes, Unread(s.problem(p, above)))
		}
	}
}

// inDoubt adds a hole for a document whose fields may mean something else, for
// example because one is written twice.
func (s *salvager) inDoubt(root *document.Node, above int, cause Problem) {
	h := newParser(s.name, s.kinds).doc(root, false).Hole(cause)
	h.OnFailure = Closed
	if len(h.Attach.Listeners) > 0 {
		h.Attach = Everywhere()
	}
	h.Definitions = nil
	s.add([]*Hole{h}, above)
}

// fields examines each field of a document that is not valid YAML by itself,
// since the error is in one of them.
func (s *salvager) fields(text []byte, above int, cause Problem) {
	keys := topLevelKey.FindAllSubmatchIndex(text, maxSalvaged)
	root := &document.Node{Kind: document.Object, Line: 1}
	if len(keys) > 0 {
		root.Line += bytes.Count(text[:keys[0][0]], []byte("\n"))
	}
	twice := false
	for i, at := range keys {
		end := len(text)
		if i+1 < len(keys) {
			end = keys[i+1][0]
		}
		key := string(text[at[2]:at[3]])
		field := document.Field{Key: key, Value: &document.Node{Kind: document.Number, Text: "0"}} // neither text nor a mapping: not known
		if nodes, found := document.YAML(text[at[0]:end]); len(found) == 0 && len(nodes) == 1 && len(nodes[0].Fields) == 1 {
			field = nodes[0].Fields[0]
		}
		twice = twice || root.Get(key) != nil
		root.Fields = append(root.Fields, field)
	}
	d := newParser(s.name, s.kinds).doc(root, false)
	switch {
	case len(keys) == 0 || len(keys) == maxSalvaged:
		h := Unread(cause)
		h.Pos.Line = 1
		s.add([]*Hole{h}, above)
	case twice:
		s.inDoubt(root, above, cause)
	case !d.unrelated():
		s.add([]*Hole{d.Hole(cause)}, above)
	}
}
