package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/printable"
)

const validateHelp = `Check definitions as serve does: each file by itself, all of them together, and the
resources that Envoy would receive. All problems are printed, one per line, as
file:line: field: problem; a hint may follow.

With --modules, modules are also fetched, compared with their sha256, and started once
with their filter's configuration; then the FilterTests run. The output includes what
each failing test expected and what the filter did, and the shortest allow list for each
module: the host calls that it imports.

Exit code 0: no errors, although there may be warnings. 1: errors.`

const validateExample = `  xds-server validate definitions/
  xds-server validate hello.yaml listener.yaml
  xds-server validate --modules definitions/

  # annotations in a pipeline
  xds-server validate -o json definitions/ | jq -r '.errors[] | "::error file=\(.file),line=\(.line)::\(.message)"'`

type validateFlags struct {
	output  string
	modules bool
	timeout time.Duration
	origins originFlags
}

// verdict is what validate -o json prints.
type verdict struct {
	Files     int                  `json:"files"`
	Filters   int                  `json:"filters"`
	Listeners int                  `json:"listeners"`
	Resources int                  `json:"resources"`
	Rollouts  int                  `json:"rollouts"`
	Tests     int                  `json:"tests,omitempty"`
	Passed    []passed             `json:"passed,omitempty"` // with --modules
	Wants     []wants              `json:"wants,omitempty"`  // with --modules
	Errors    []definition.Problem `json:"errors"`
	Warnings  []definition.Problem `json:"warnings"`
}

// passed is a filter that has passed its tests.
type passed struct {
	Filter string `json:"filter"`
	Cases  int    `json:"cases"`
}

// passes gives the filters that have passed their tests.
func passes(modules *module.Set) []passed {
	var all []passed
	for _, f := range modules.Filters {
		if f.Tests > 0 {
			all = append(all, passed{f.Wanted.Name, f.Tests})
		}
	}
	return all
}

// wants is what the module of a filter wants of Envoy.
type wants struct {
	Filter string `json:"filter"`
	module.Wants
	Lacks []string `json:"lacks,omitempty"` // host calls that the module imports, and its allow list has not
}

func wantsOf(f *definition.Filter, w module.Wants) wants {
	of := wants{Filter: f.Name, Wants: w}
	for _, call := range w.Calls {
		if f.Allow != nil && !f.AllowComputed && !slices.Contains(f.Allow, call) {
			of.Lacks = append(of.Lacks, call)
		}
	}
	return of
}

func newValidate() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:     "validate PATH...",
		Short:   "Check definitions",
		Long:    validateHelp,
		Example: validateExample,
		Args:    positional(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "text", "output `format`: text or json")
	flags.BoolVar(&f.modules, "modules", false, "also fetch the modules and try them")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "`time` limit for fetching and trying all modules")
	completeValues(cmd, "output", "text", "json")
	f.origins.add(cmd)
	return cmd
}

func (f *validateFlags) run(ctx context.Context, out io.Writer, paths []string) error {
	if f.output != "text" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: must be text or json", f.output))
	}
	files, err := definitionsOf(paths, f.origins.roots)
	if err != nil {
		return wrong(err)
	}
	if len(files) == 0 {
		return wrong(fmt.Errorf("no definitions in %s: their names end in .yaml, .yml or .json", strings.Join(paths, " ")))
	}
	v, err := f.check(ctx, paths, files)
	if err != nil {
		return wrong(err)
	}
	if f.output == "json" {
		err = printJSON(out, v)
	} else {
		v.print(out)
	}
	if err == nil && len(v.Errors) > 0 {
		err = &exitError{code: exitWrong}
	}
	return err
}

func (f *validateFlags) check(ctx context.Context, paths, files []string) (*verdict, error) {
	set, problems := readDefinitions(files, paths)
	modules := asIfThere(set)
	var wanted map[string]module.Wants
	var passed []passed
	if f.modules {
		var err error
		if modules, wanted, err = fetchModules(ctx, set, paths, &f.origins, f.timeout); err != nil {
			return nil, err
		}
		passed = passes(modules)
	}
	pairs, err := f.origins.pairs(ctx, set, paths)
	if err != nil {
		return nil, err
	}
	problems = asTyped(slices.Concat(problems, modules.Problems, compiled(modules, pairs)), files)
	v := &verdict{
		Files: len(files), Filters: len(set.Filters), Listeners: len(set.Listeners), Resources: len(set.Resources), Rollouts: len(set.Rollouts),
		Tests: len(set.Tests), Passed: passed,
		Errors: []definition.Problem{}, Warnings: []definition.Problem{},
	}
	for _, f := range set.Filters {
		if w, ok := wanted[f.Name]; ok {
			v.Wants = append(v.Wants, wantsOf(f, w))
		}
	}
	for _, p := range problems {
		if p.Warning {
			v.Warnings = append(v.Warnings, p)
		} else {
			v.Errors = append(v.Errors, p)
		}
	}
	return v, nil
}

func (v *verdict) print(out io.Writer) {
	printProblems(out, "", v.Errors)
	printProblems(out, "", v.Warnings)
	for _, w := range v.Wants {
		allow := "computed" // a list has an entry
		if len(w.Calls) > 0 {
			allow = "[" + strings.Join(w.Calls, ", ") + "]"
		}
		fmt.Fprintf(out, "%s runs with allow: %s\n", printable.Text(w.Filter), allow)
		if len(w.Lacks) > 0 {
			fmt.Fprintf(out, "%s may not call %s, which its module imports\n", printable.Text(w.Filter), strings.Join(w.Lacks, ", "))
		}
	}
	for _, p := range v.Passed {
		fmt.Fprintf(out, "%s passes its tests (%s)\n", printable.Text(p.Filter), plural(p.Cases, "case"))
	}
	counts := fmt.Sprintf("%s, %s, %s", plural(v.Filters, "filter"), plural(v.Listeners, "listener"), plural(v.Resources, "raw resource"))
	if v.Rollouts > 0 {
		counts += ", " + plural(v.Rollouts, "rollout")
	}
	if v.Tests > 0 {
		counts += ", " + plural(v.Tests, "filter test")
	}
	counts += " in " + plural(v.Files, "file")
	switch {
	case len(v.Errors) > 0:
		fmt.Fprintf(out, "%s; good are %s\n", plural(len(v.Errors), "error"), counts)
	case len(v.Warnings) > 0:
		fmt.Fprintf(out, "valid, with %s: %s\n", plural(len(v.Warnings), "warning"), counts)
	default:
		fmt.Fprintf(out, "valid: %s\n", counts)
	}
}
