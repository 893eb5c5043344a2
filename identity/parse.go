package identity

import (
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"wasmxds/definition"
	"wasmxds/files"
)

// MaxSize is the maximum size of a policy in bytes.
const MaxSize = 1 << 20

// Load reads a policy from a file. It returns all problems in one pass, and
// then no Policy.
func Load(name string) (*Policy, []definition.Problem) {
	data, err := files.Read(name, MaxSize)
	if err != nil {
		return nil, []definition.Problem{{File: name, Message: fmt.Sprintf("can't be read: %v", errors.Unwrap(err))}}
	}
	return Parse(name, data)
}

// Parse parses a policy in YAML or JSON.
func Parse(name string, data []byte) (*Policy, []definition.Problem) {
	p := &parser{name: name}
	if len(data) > MaxSize {
		p.problem(nil, "", "larger than %d bytes", MaxSize)
		return nil, p.problems
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		p.unreadable(err)
		return nil, p.problems
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		p.problem(&more, "", "a policy is one document")
	}
	policy := &Policy{name: name}
	fields := p.fields(doc.Content[0], "", "rules", "operators")
	if rules := fields["rules"]; rules == nil {
		p.problem(doc.Content[0], "rules", "is missing")
	} else {
		for i, n := range p.items(rules, "rules") {
			policy.rules = append(policy.rules, p.rule(n, fmt.Sprintf("rules[%d]", i)))
		}
	}
	policy.operators = p.subjects(fields["operators"], "operators")
	if len(p.problems) > 0 {
		return nil, p.problems
	}
	return policy, nil
}

type parser struct {
	name     string
	problems []definition.Problem
}

func (p *parser) problem(at *yaml.Node, field, format string, args ...any) {
	line := 0
	if at != nil {
		line = at.Line
	}
	p.problems = append(p.problems, definition.Problem{File: p.name, Line: line, Field: field, Message: fmt.Sprintf(format, args...)})
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (p *parser) unreadable(err error) {
	if errors.Is(err, io.EOF) {
		p.problem(nil, "", "is empty; to refuse everyone, write rules: []")
		return
	}
	found := definition.Problem{File: p.name, Message: "not YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		found.Line, _ = strconv.Atoi(m[1])
		found.Message = "not YAML: " + strings.TrimPrefix(err.Error(), m[0])
	}
	p.problems = append(p.problems, found)
}

// rule parses one rule.
func (p *parser) rule(n *yaml.Node, at string) rule {
	r := rule{line: n.Line}
	fields := p.fields(n, at, "who", "ids", "clusters", "labels")
	r.who = p.subjects(fields["who"], at+".who")
	wildcards := 9
	for _, s := range r.who {
		wildcards = min(wildcards, s.wildcards)
	}
	r.ids = p.globs(fields["ids"], at+".ids", wildcards)
	r.clusters = p.globs(fields["clusters"], at+".clusters", wildcards)
	for _, required := range []string{"who", "ids"} {
		if fields[required] == nil && n.Kind == yaml.MappingNode {
			p.problem(n, at+"."+required, "is missing")
		}
	}
	if labels := fields["labels"]; labels != nil {
		r.labels = p.labels(labels, at+".labels", wildcards)
	}
	return r
}

// subjects parses a text or a list of texts; nil gives none.
func (p *parser) subjects(n *yaml.Node, at string) []subject {
	var all []subject
	for i, w := range p.texts(n, at) {
		s, err := newSubject(w.Value)
		if err != nil {
			p.problem(w, fmt.Sprintf("%s[%d]", at, i), "%q %v", w.Value, err)
			continue
		}
		all = append(all, s)
	}
	return all
}

func (p *parser) labels(n *yaml.Node, at string, wildcards int) []label {
	labels := []label{} // an empty list allows no labels, unless:
	if n.Kind != yaml.MappingNode {
		p.problem(n, at, "needs a mapping of labels to values")
		return labels
	}
	p.unique(n, at)
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if err := checkMatch(key.Value); err != nil {
			p.problem(key, at+"."+key.Value, "%v", err)
		}
		labels = append(labels, label{key.Value, p.globs(value, at+"."+key.Value, wildcards)})
	}
	return labels
}

// globs parses a text or a list of texts.
func (p *parser) globs(n *yaml.Node, at string, wildcards int) []string {
	var globs []string
	for i, t := range p.texts(n, at) {
		if err := checkGlob(t.Value, wildcards); err != nil {
			p.problem(t, fmt.Sprintf("%s[%d]", at, i), "%q %v", t.Value, err)
		}
		globs = append(globs, t.Value)
	}
	return globs
}

func checkMatch(glob string) error {
	if _, err := path.Match(glob, ""); err != nil {
		return errors.New("is not a glob")
	}
	return nil
}

// texts returns a text, or the texts of a list; nil gives none.
func (p *parser) texts(n *yaml.Node, at string) []*yaml.Node {
	if n == nil {
		return nil
	}
	list := []*yaml.Node{n}
	if n.Kind != yaml.ScalarNode {
		list = p.items(n, at)
		if n.Kind == yaml.SequenceNode && len(list) == 0 {
			p.problem(n, at, "is empty")
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(t *yaml.Node) bool {
		if t.Kind == yaml.ScalarNode && t.Tag == "!!str" && t.Value != "" {
			return false
		}
		p.problem(t, at, "needs text; put it in quotes where it is a number, true, false or null")
		return true
	})
}

func (p *parser) items(n *yaml.Node, at string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		p.problem(n, at, "needs a list")
		return nil
	}
	return n.Content
}

// fields returns the fields of a mapping, and reports those that are not known.
func (p *parser) fields(n *yaml.Node, at string, known ...string) map[string]*yaml.Node {
	fields := map[string]*yaml.Node{}
	if n.Kind != yaml.MappingNode {
		p.problem(n, at, "needs a mapping with %s", strings.Join(known, ", "))
		return fields
	}
	p.unique(n, at)
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if !slices.Contains(known, key.Value) {
			p.problem(key, strings.TrimPrefix(at+"."+key.Value, "."), "unknown field; there are %s", strings.Join(known, ", "))
			continue
		}
		fields[key.Value] = n.Content[i+1]
	}
	return fields
}

// unique reports duplicate keys.
func (p *parser) unique(n *yaml.Node, at string) {
	lines := map[string]int{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if line := lines[key.Value]; line > 0 {
			p.problem(key, strings.TrimPrefix(at+"."+key.Value, "."), "is already defined on line %d", line)
		}
		lines[key.Value] = key.Line
	}
}
