package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/files"
)

const convertHelp = `Convert other definitions to the native kinds: Istio's WasmPlugin,
TrafficExtension and EnvoyFilter, Envoy Gateway's EnvoyExtensionPolicy, and an
envoy.yaml with static_resources.
xds-server also serves all of these as they are, so convert them only if you want to
maintain the native form. Comments and the order of fields are lost.

It also converts what an Envoy runs, as its admin interface prints it at
/config_dump?include_eds: listeners, clusters, endpoints, routes, filters and secrets.
It leaves out what xds-server itself generates. Envoy does not print private keys: each
is an error that says where to add it, and everything else is converted.

In an envoy.yaml, a listener becomes a Listener and a Wasm filter becomes a WasmFilter
if the native kind means exactly the same, apart from names in statistics and logs.
Everything else stays in Envoy's own form, with a comment that says why. What belongs
to Envoy's bootstrap is listed at the top.

Paths of modules stay relative, so save the result of a file in the same folder, and
that of a directory in this directory. With -o, one file is written for each input
file; existing files are never overwritten.

A field of a WasmPlugin, TrafficExtension, EnvoyFilter or EnvoyExtensionPolicy that the
native kinds cannot express is an error.`

const convertExample = `  xds-server convert wasmplugin.yaml > hello.yaml
  xds-server convert envoy.yaml -o definitions/
  xds-server convert istio/ -o definitions/

  # from an Envoy of another control plane
  curl -s 'localhost:9901/config_dump?include_eds' > config_dump.json
  xds-server convert config_dump.json > definitions/edge.yaml`

type convertFlags struct{ path, output string }

func newConvert() *cobra.Command {
	var f convertFlags
	cmd := &cobra.Command{
		Use:     "convert PATH",
		Short:   "Convert an envoy.yaml, a config_dump, or Istio or Envoy Gateway objects, to the native kinds",
		Long:    convertHelp,
		Example: convertExample,
		Args:    positional(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.path = args[0]
			return f.run(cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "`directory` to write files to (default standard output)")
	completeDir(cmd, "output")
	return cmd
}

func (f *convertFlags) run(out, errs io.Writer) error {
	names, err := definitionsOf([]string{f.path}, nil)
	if err != nil {
		return wrong(err)
	}
	if len(names) == 0 {
		return wrong(fmt.Errorf("no definitions in %s: their names end in .yaml, .yml or .json", f.path))
	}
	targets, err := f.targets(names)
	if err != nil {
		return wrong(err)
	}
	bad, printed := false, 0
	for i, name := range names {
		text, ok, err := f.convert(errs, name, targets[i].dir)
		if err != nil {
			return wrong(err)
		}
		bad = bad || !ok
		if text == nil {
			continue
		}
		if f.output != "" {
			err = f.write(out, name, targets[i].path, text)
		} else {
			if printed++; printed > 1 {
				text = append([]byte("---\n"), text...)
			}
			_, err = out.Write(text)
		}
		if err != nil {
			return wrong(err)
		}
	}
	if bad {
		return &exitError{code: exitWrong}
	}
	return nil
}

// convert converts a file, which is to be read from dir then, and says whether nothing
// was wrong. Of a List, the good items are converted; nil: nothing is.
func (f *convertFlags) convert(errs io.Writer, name, dir string) ([]byte, bool, error) {
	data, err := readLimited(name)
	if errors.Is(err, files.ErrTooLarge) {
		err = fmt.Errorf("%w; fetch a config_dump of this size in parts: /config_dump?resource=dynamic_listeners&name_regex=…", err)
	}
	if err != nil {
		return nil, false, fmt.Errorf("read definitions: %w", err)
	}
	parser := kinds.Parser()
	parser.Dumps = true
	file, problems := parser.Parse(name, data)
	printProblems(errs, "", problems)
	if file == nil {
		return nil, false, nil
	}
	text, err := definition.ConvertTo(file, dir)
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", name, err)
	}
	return text, !slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning }), nil
}

// target is where a file goes.
type target struct {
	dir  string // that it is to be read from when it is converted
	path string // in the output; "": it is printed
}

// targets are those of files. It is an error where two would go to one.
func (f *convertFlags) targets(names []string) ([]target, error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return nil, err
	}
	targets := make([]target, len(names))
	first := map[string]string{}
	for i, name := range names {
		inside := filepath.Base(name)
		if info.IsDir() {
			if inside, err = filepath.Rel(f.path, name); err != nil {
				return nil, err
			}
		}
		switch {
		case f.output != "":
			path := filepath.Join(f.output, strings.TrimSuffix(inside, filepath.Ext(inside))+".yaml")
			if other, taken := first[path]; taken {
				return nil, fmt.Errorf("%s and %s would both be written to %s: rename one of them", other, name, path)
			}
			first[path] = name
			targets[i] = target{filepath.Dir(path), path}
		case info.IsDir():
			targets[i].dir = f.path
		default:
			targets[i].dir = filepath.Dir(name)
		}
	}
	return targets, nil
}

// write writes what a file was converted to.
func (f *convertFlags) write(out io.Writer, name, path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return fmt.Errorf("make --output: %w", err)
	}
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s already exists: remove it, or set --output to another directory", path)
	}
	if err != nil {
		return err
	}
	_, err = to.Write(text)
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s is %s now\n", name, path)
	return err
}

const schemaHelp = `Print the JSON Schema of the native kinds (WasmFilter, LuaFilter, Listener,
Rollout and FilterTest) for editors that use it to complete and check definitions.
Everything that it rejects, validate rejects; validate also checks what a schema cannot express.`

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
