package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
)

const convertHelp = `Write definitions of another system in the native kinds: Istio's WasmPlugin and
EnvoyFilter, Envoy Gateway's EnvoyExtensionPolicy. All of them are also served as
they are; convert when you want to go on by hand.

The result belongs in the same folder, as paths of modules stay relative to it.
What the native kinds have no word for is an error.`

const convertExample = `  xds-server convert wasmplugin.yaml > hello.yaml`

func newConvert() *cobra.Command {
	return &cobra.Command{
		Use:     "convert FILE",
		Short:   "Write Istio's and Envoy Gateway's definitions in the native kinds",
		Long:    convertHelp,
		Example: convertExample,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := readLimited(args[0])
			if err != nil {
				return wrong(fmt.Errorf("read definitions: %w", err))
			}
			file, problems := kinds.Parser().Parse(args[0], data)
			printProblems(cmd.ErrOrStderr(), "", problems)
			if file == nil {
				return &exitError{code: exitWrong}
			}
			out, err := definition.Convert(file)
			if err != nil {
				return wrong(fmt.Errorf("%s: %w", args[0], err))
			}
			if _, err = cmd.OutOrStdout().Write(out); err != nil {
				return err
			}
			if slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning }) {
				return &exitError{code: exitWrong} // the other items of a List are written
			}
			return nil
		},
	}
}

const schemaHelp = `Print the JSON Schema of the native kinds, WasmFilter, Listener and Rollout, for
editors that complete and check by it. What it refuses, validate refuses; validate knows
more.`

const schemaExample = `  xds-server schema > schema.json

  # in a definition, for editors with the YAML language server
  # yaml-language-server: $schema=./schema.json`

func newSchema() *cobra.Command {
	return prints("the schema", definition.Schema, &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the native kinds",
		Long:    schemaHelp,
		Example: schemaExample,
	})
}

// prints makes a command print what is made of the native kinds alone.
func prints(what string, made func() ([]byte, error), cmd *cobra.Command) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		out, err := made()
		if err != nil {
			return wrong(fmt.Errorf("make %s: %w", what, err))
		}
		_, err = cmd.OutOrStdout().Write(out)
		return err
	}
	return cmd
}
