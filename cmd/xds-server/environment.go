package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"wasmxds/misspelt"
)

// environment has the variables that stand for flags.
type environment map[string]string

const envPrefix = "XDS_SERVER_"

func envName(flag string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// newEnvironment takes them from "NAME=value" lines. An empty value is none.
func newEnvironment(lines []string) environment {
	env := environment{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, "=")
		if strings.HasPrefix(name, envPrefix) && value != "" {
			env[name] = value
		}
	}
	return env
}

// set sets each flag that the command line does not give and the environment
// does.
func (env environment) set(flags *pflag.FlagSet) error {
	var wrongly error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || wrongly != nil {
			return
		}
		name := envName(f.Name)
		v, ok := env[name]
		if !ok {
			return
		}
		values := []string{v}
		if _, is := f.Value.(*paths); is {
			values = filepath.SplitList(v)
		}
		for _, v := range values {
			if err := flags.Set(f.Name, v); err != nil {
				wrongly = misused(fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return wrongly
}

// ofService are the variables that Kubernetes gives each container beside a
// Service that is called xds-server.
var ofService = regexp.MustCompile(`^XDS_SERVER_(SERVICE_HOST|SERVICE_PORT.*|PORT|PORT_[0-9].*)$`)

// warn names the variables that stand for no flag of any command: they are
// misspelt, most likely.
func (env environment) warn(root *cobra.Command, errs io.Writer) {
	known := map[string]bool{}
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known[envName(f.Name)] = true })
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(root)
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if known[name] || ofService.MatchString(name) {
			continue
		}
		meant := ""
		if near := misspelt.Nearest(name, slices.Sorted(maps.Keys(known))); near != "" {
			meant = "; did you mean " + near + "?"
		}
		fmt.Fprintf(errs, "warning: %s stands for no flag%s\n", name, meant)
	}
}
