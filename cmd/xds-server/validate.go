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
)

const validateHelp = `Check definitions as serve would: each file by itself, all of them together, and
what becomes of them for Envoy. Every problem is told at once, one a line, as
file:line: field: what is wrong; a hint may follow.

Modules are left alone unless --modules is given: then they are fetched, their
sha256 is compared, and each is started once with its filter's configuration.

Exit code 0: no errors (there may be warnings). 1: errors.`

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
	Errors    []definition.Problem `json:"errors"`
	Warnings  []definition.Problem `json:"warnings"`
}

func newValidate() *cobra.Command {
	var f validateFlags
	cmd := &cobra.Command{
		Use:     "validate PATH...",
		Short:   "Check files and directories of definitions",
		Long:    validateHelp,
		Example: validateExample,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "text", "output `format`: text or json")
	flags.BoolVar(&f.modules, "modules", false, "fetch and try the modules as well")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "`time` that modules may take, all together")
	completeValues(cmd, "output", "text", "json")
	f.origins.add(cmd)
	return cmd
}

func (f *validateFlags) run(ctx context.Context, out io.Writer, paths []string) error {
	if f.output != "text" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: text or json", f.output))
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
	set, problems := readDefinitions(files)
	modules := asIfThere(set)
	if f.modules {
		var err error
		if modules, err = fetchModules(ctx, set, paths, &f.origins, f.timeout); err != nil {
			return nil, err
		}
	}
	problems = asTyped(slices.Concat(problems, modules.Problems, compiled(modules)), files)
	v := &verdict{
		Files: len(files), Filters: len(set.Filters), Listeners: len(set.Listeners), Resources: len(set.Resources), Rollouts: len(set.Rollouts),
		Errors: []definition.Problem{}, Warnings: []definition.Problem{},
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
	counts := fmt.Sprintf("%s, %s, %s", plural(v.Filters, "filter"), plural(v.Listeners, "listener"), plural(v.Resources, "raw resource"))
	if v.Rollouts > 0 {
		counts += ", " + plural(v.Rollouts, "rollout")
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
