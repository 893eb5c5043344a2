package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/module/dryrun"
	"wasmxds/printable"
	"wasmxds/try"
	"wasmxds/try/envoy"
)

// anyEnvoy is --envoy without a path: the one that is found.
const anyEnvoy = "found"

// envoyFlag adds --envoy.
func (f *tryFlags) envoyFlag(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.envoy, "envoy", "", "also run on a real Envoy, and show where the results differ: the program at `path` (--envoy=PATH), or, without one, $ENVOY, the newest in .tools/, or the one in PATH")
	flags.Lookup("envoy").NoOptDefVal = anyEnvoy
}

// findEnvoy finds the Envoy that is meant; nil: none is.
func (f *tryFlags) findEnvoy(ctx context.Context) (*envoy.Binary, error) {
	path := f.envoy
	switch path {
	case "":
		return nil, nil
	case anyEnvoy:
		path = ""
	}
	found, err := envoy.Find(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("--envoy: %w", err)
	}
	return &found, nil
}

// on is the subject on an Envoy.
func (s *subject) on(f *tryFlags, binary envoy.Binary, w *workshop) *subject {
	other := *s
	other.Player = &envoy.Player{Binary: binary, Modules: w.store, Start: max(f.timeout/3, 20*time.Second), Env: hostEnv(f.origins.trialEnv)}
	other.Envoy, other.Profile = binary.Version, false
	return &other
}

func hostEnv(names []string) []string {
	var env []string
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// beside is what came of the requests on an Envoy.
type beside struct {
	version  string
	outcomes []try.Outcome
	// alone: the host here can't play the module.
	alone *dryrun.Unplayable
	unset []string // properties
}

// playOn plays on an Envoy what was played here; alone is why it was not.
func (f *tryFlags) playOn(ctx context.Context, s *subject, w *workshop, binary *envoy.Binary, requests []definition.TestCase, alone *dryrun.Unplayable) (*beside, error) {
	outcomes, err := s.on(f, *binary, w).play(ctx, requests)
	if err != nil {
		return nil, err
	}
	b := &beside{version: binary.Version, outcomes: outcomes, alone: alone}
	for _, c := range slices.Concat(requests, s.tests) {
		b.unset = append(b.unset, envoy.Unset(c.Properties)...)
	}
	slices.Sort(b.unset)
	b.unset = slices.Compact(b.unset)
	return b, nil
}

// print writes, behind what came of a request here, whether an Envoy differs.
func (b *beside) print(text *strings.Builder, i int, here []try.Outcome, quiet bool) {
	if i >= len(b.outcomes) {
		fmt.Fprintf(text, "Envoy %s did not get to this request\n", b.version)
		return
	}
	var told strings.Builder
	if differs := try.Beside(&told, b.version, here[i], b.outcomes[i]); differs || !quiet {
		text.WriteString(told.String())
	}
}

// printAlone writes what came of the requests that only the Envoy has played.
func (b *beside) printAlone(out io.Writer) {
	var text strings.Builder
	fmt.Fprintf(&text, "here: %v; on Envoy %s:\n", b.alone, b.version)
	for _, o := range b.outcomes {
		o.Report(&text)
	}
	fmt.Fprint(out, printable.Lines(text.String()))
}

// toldBeside is what try -o json prints of an Envoy.
type toldBeside struct {
	Version  string   `json:"version"`
	Requests []toldOn `json:"requests"`
	Unset    []string `json:"unsetProperties,omitempty"`
}

// toldOn is what came of a request there.
type toldOn struct {
	try.Told
	Differs string `json:"differs,omitempty"` // lines of a diff: "-" here, "+" on the Envoy
}

func (b *beside) told(here []try.Outcome) *toldBeside {
	t := &toldBeside{Version: b.version, Unset: b.unset}
	for i, o := range b.outcomes {
		on := toldOn{Told: o.Told()}
		if i < len(here) {
			on.Differs = try.Differences(here[i], o)
		}
		t.Requests = append(t.Requests, on)
	}
	return t
}
