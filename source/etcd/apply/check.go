package apply

import (
	"maps"
	"slices"

	"wasmxds/definition"
	"wasmxds/source"
	"wasmxds/source/etcd"
)

// Check returns the problems that a plan would cause, together with the
// definitions in others: those of its files, and new errors of existing
// documents. Errors that exist already do not count. The function further
// returns more problems of a set.
func (p *Plan) Check(parser definition.Parser, others []*definition.File, further func(*definition.Set) []definition.Problem) []definition.Problem {
	var found []definition.Problem
	touched := map[string]bool{}
	mine := map[string]bool{}
	var files []*definition.File
	for _, a := range p.Actions {
		touched[a.Name] = true
		if a.File == nil {
			continue
		}
		mine[a.File.Path] = true
		file, problems := read(parser, a.File.Path, a.File.Text)
		found = append(found, problems...)
		if file != nil {
			files = append(files, file)
		}
	}
	before, after := slices.Clone(others), slices.Clone(others)
	for _, name := range slices.Sorted(maps.Keys(p.From.Documents)) {
		file, _ := read(parser, source.Key{Source: etcd.Name, Name: name}.String(), p.From.Documents[name].Text)
		if file == nil {
			continue
		}
		before = append(before, file)
		if !touched[name] {
			after = append(after, file)
		}
	}
	whole := func(files []*definition.File) []definition.Problem {
		set, problems := definition.Merge(files)
		return append(problems, further(set)...)
	}
	was := map[definition.Problem]bool{}
	for _, problem := range whole(before) {
		was[problem] = true
	}
	// Existing documents come first, so that they win over new ones.
	for _, problem := range whole(append(after, files...)) {
		if mine[problem.File] || !problem.Warning && !was[problem] {
			found = append(found, problem)
		}
	}
	return found
}

// read parses a document as xds-server will: without a folder beside it.
func read(parser definition.Parser, name string, text []byte) (*definition.File, []definition.Problem) {
	parsed := parser.ReadFrom(name, "", text)
	return parsed.File, parsed.Problems
}
