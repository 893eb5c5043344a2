package module

import (
	"context"
	"fmt"
	"io"

	"wasmxds/definition"
)

// A Lua filter has no module. Its script is in its definition, or in a file,
// which is followed like that of a module: it is read when it has been
// unchanged for a moment, and again when it changes. The last good script is
// stored with the definition, and not in the store of modules.

// judgeScript is judge for a Lua filter.
func (l *resolution) judgeScript(e *wantedFilter, f *definition.Filter) verdict {
	if f.Lua.Script != "" {
		return verdict{definition: f, state: Good}
	}
	o := l.origin(f)
	e.origin = o
	switch {
	case o.err != nil:
		return verdict{state: Failed, err: o.err}
	case o.text == "":
		return verdict{state: Fetching, err: fmt.Errorf("%s is being read", o.key)}
	}
	return verdict{definition: e.withScript(f, o.text), state: Good}
}

// readScript makes one attempt to update known.
func (l *resolution) readScript(ctx context.Context, key originKey, known *knowledge) error {
	response, err := moduleFiles{l.Policy.Roots, "script"}.Fetch(ctx, Request{URL: key.url, Known: known.Validators})
	if err != nil {
		return err
	}
	if response.Body == nil {
		return known.err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(io.LimitReader(response.Body, definition.MaxScript+1))
	if err != nil {
		return err
	}
	*known = knowledge{Validators: response.Validators}
	if err := definition.CheckScript(string(b)); err != nil {
		known.err = &ContentError{Message: fmt.Sprintf("%s %v", key, err)}
		return known.err
	}
	known.text = string(b)
	return nil
}

// scripted is a definition with the script of its file added.
type scripted struct{ from, made *definition.Filter }

// withScript returns f with a script. It returns the same pointer as long as
// both are the same.
func (e *wantedFilter) withScript(f *definition.Filter, script string) *definition.Filter {
	if e.scripted.from == f && e.scripted.made.Lua.Script == script {
		return e.scripted.made
	}
	made := *f
	made.Lua = &definition.Lua{Script: script}
	e.scripted = scripted{f, &made}
	return &made
}

// FieldOf returns the field of a definition that refers to its code.
func FieldOf(f *definition.Filter) string {
	if f.Lua != nil {
		return "file"
	}
	return "module"
}
