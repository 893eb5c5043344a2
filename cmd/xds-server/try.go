package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/printable"
	"wasmxds/try"
	"wasmxds/try/envoy"
)

const tryHelp = `Play requests through a filter without an Envoy, and print what it does: its changes
to the request and the response as a diff, its own response, log lines, callouts,
metrics, and the cost of each callback.

The filter is a module (MODULE.wasm, with its configuration in --config) or a filter of
definitions. Its FilterTests can be in the same files or in other files on the command
line. Requests come from flags, a curl command (--curl) or a HAR file (--har). A network
filter gets a connection instead (--downstream, --upstream: what each side sends). Without
requests, the filter's FilterTests run; if it has none, it gets GET /.

The requests of a HAR file go through one VM in order, and the upstream answers as in
the file. Each case of a FilterTest has its own VM.

With --envoy, everything also runs on a real Envoy on this machine. With --with OLD.wasm,
both modules get the same requests. In both cases the output shows where the results
differ. With --watch, everything runs again when a file changes. Counting instructions
makes the module slower, so compare times only with each other.

Exit code 0: the filter ran, and all expectations are met. 1: an expectation is not met,
here or on Envoy, or the filter crashed or cannot be used.`

const tryExample = `  xds-server try greet.wasm --config '{"header": "x-greet"}'
  xds-server try definitions/auth.yaml --path /private -H 'authorization: abc' --callout authz=403
  xds-server try definitions/ --filter auth --har session.har --with auth-1.3.wasm
  xds-server try auth.yaml auth-tests.yaml --watch
  xds-server try auth.yaml auth-tests.yaml --envoy=/usr/local/bin/envoy
  xds-server try preface.wasm --config '{"require": ["SSH-"]}' --downstream SSH-2.0 --upstream welcome
  xds-server try auth.wasm --curl "curl 'https://shop.example/cart' -H 'cookie: a=b'"`

type tryFlags struct {
	filter  string
	config  string
	rootID  string
	with    string
	envoy   string
	watch   bool
	verbose bool
	profile string
	output  string
	timeout time.Duration
	request requestFlags
	origins originFlags
}

func newTry() *cobra.Command {
	var f tryFlags
	cmd := &cobra.Command{
		Use:     "try MODULE.wasm|PATH...",
		Short:   "Play requests through a filter, without an Envoy",
		Long:    tryHelp,
		Example: tryExample,
		Args:    positional(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return []string{"wasm", "yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
	}
	flags := cmd.Flags()
	flags.StringVar(&f.filter, "filter", "", "`name` of the filter, if there are several; for MODULE.wasm, the name that its FilterTests use (default its file name)")
	flags.StringVar(&f.rootID, "root-id", "", "`name` that MODULE.wasm registers its plugin under (rootID); modules in C++ and AssemblyScript often have one")
	flags.StringVar(&f.config, "config", "", "plugin configuration `text` of MODULE.wasm, or @FILE to read it from a file")
	flags.StringVar(&f.with, "with", "", "`module` file of another version of the filter to compare with")
	f.envoyFlag(cmd)
	flags.BoolVar(&f.watch, "watch", false, "run again when a file changes")
	flags.StringVar(&f.profile, "profile", "", "`file` to write a profile to, for go tool pprof: the instructions of each function of the module")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "also print FilterTest cases that pass in full")
	flags.StringVarP(&f.output, "output", "o", "text", "output `format`: text or json")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "`time` limit for one run, including fetching the module")
	completeValues(cmd, "output", "text", "json")
	f.request.add(cmd)
	completeFiles(cmd, "with", "har")
	f.origins.add(cmd)
	return cmd
}

func (f *tryFlags) run(ctx context.Context, out io.Writer, args []string) error {
	if f.output != "text" && f.output != "json" {
		return misused(fmt.Errorf("--output %s: must be text or json", f.output))
	}
	requests, err := f.request.read()
	if err != nil {
		return err
	}
	real, err := f.findEnvoy(ctx)
	if err != nil {
		return wrong(err)
	}
	w, err := f.workshop(ctx, args)
	if err != nil {
		return wrong(err)
	}
	defer w.close()
	if !f.watch {
		return f.once(ctx, out, w, real, args, requests)
	}
	return f.watching(ctx, args, func() {
		if err := f.once(ctx, out, w, real, args, requests); err != nil && ctx.Err() == nil {
			printError(out, "error", err)
		}
	})
}

// once tries the filter as its files are now.
func (f *tryFlags) once(ctx context.Context, out io.Writer, w *workshop, real *envoy.Binary, args []string, requests []definition.TestCase) error {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	s, err := w.subject(ctx, f, args)
	if err != nil {
		return wrong(err)
	}
	if f.profile != "" && requests == nil && s.tests != nil {
		return misused(errors.New("--profile applies to requests, not to FilterTests: give a request, for example --path /"))
	}
	if f.output == "text" {
		printProblems(out, "", s.warnings)
	}
	done, err := s.play(ctx, requests)
	alone, _ := errors.AsType[*dryrun.Unplayable](err)
	if err != nil && (alone == nil || real == nil) {
		return wrong(err)
	}
	var there *beside
	if real != nil {
		if there, err = f.playOn(ctx, s, w, real, requests, alone); err != nil {
			return wrong(err)
		}
	}
	var before []try.Outcome
	if f.with != "" && alone == nil {
		old, err := w.with(s, f.with)
		if err != nil {
			return wrong(fmt.Errorf("--with: %w", err))
		}
		if before, err = old.play(ctx, requests); err != nil {
			return wrong(fmt.Errorf("--with %s: %w", f.with, err))
		}
	}
	if f.profile != "" && alone == nil {
		if err := writeProfile(f.profile, done); err != nil {
			return wrong(err)
		}
	}
	if f.output == "json" {
		err = printTried(out, s, done, before, there)
	} else {
		f.print(out, s, done, before, there)
	}
	all := done
	if there != nil {
		all = slices.Concat(done, there.outcomes)
	}
	if err == nil && slices.ContainsFunc(all, func(o try.Outcome) bool { return len(o.Failures) > 0 || o.Crashed() }) {
		err = &exitError{code: exitWrong}
	}
	return err
}

// writeProfile writes the profile of requests that went through one VM.
func writeProfile(name string, done []try.Outcome) error {
	profile := done[len(done)-1].Profile
	if profile == nil {
		return errors.New("--profile: no profile was written, because the requests did not complete")
	}
	if err := os.WriteFile(name, profile.Encode(), 0o644); err != nil {
		return fmt.Errorf("--profile: %w", err)
	}
	return nil
}

// tried is what try -o json prints.
type tried struct {
	Filter   string      `json:"filter"`
	SHA256   string      `json:"sha256"`
	Requests []try.Told  `json:"requests"`
	With     []try.Told  `json:"with,omitempty"`
	Envoy    *toldBeside `json:"envoy,omitempty"`
}

func printTried(out io.Writer, s *subject, done, before []try.Outcome, there *beside) error {
	t := tried{Filter: s.Filter.Name, SHA256: s.Module.SHA256}
	for _, o := range done {
		t.Requests = append(t.Requests, o.Told())
	}
	for _, o := range before {
		t.With = append(t.With, o.Told())
	}
	if there != nil {
		t.Envoy = there.told(done)
	}
	return printJSON(out, t)
}

func (f *tryFlags) print(out io.Writer, s *subject, done, before []try.Outcome, there *beside) {
	if there != nil && there.alone != nil {
		there.printAlone(out)
		printFailures(out, s, there.outcomes)
		return
	}
	var text strings.Builder
	for i, o := range done {
		if before != nil && i < len(before) {
			try.Compare(&text, before[i], o)
		} else if s.tests != nil && len(o.Failures) == 0 && !f.verbose {
			fmt.Fprintf(&text, "ok: %s\n", o.Name)
		} else {
			o.Report(&text)
		}
		if there != nil {
			there.print(&text, i, done, s.tests != nil && !f.verbose)
		}
	}
	fmt.Fprint(out, printable.Lines(text.String()))
	printFailures(out, s, done)
	if there != nil {
		printFailures(out, s, there.outcomes)
		if len(there.unset) > 0 {
			fmt.Fprintf(out, "Envoy has its own values of properties that are given: %s\n", printable.Text(strings.Join(there.unset, ", ")))
		}
	}
}

// printFailures prints expectations that are not met, and how many cases pass.
func printFailures(out io.Writer, s *subject, done []try.Outcome) {
	failed, on := 0, ""
	for _, o := range done {
		printProblems(out, "", asTyped(o.Failures, s.files))
		if len(o.Failures) > 0 {
			failed++
		}
		if o.Envoy != "" {
			on = " on Envoy " + o.Envoy
		}
	}
	if s.tests != nil {
		fmt.Fprintf(out, "%d of %s pass%s\n", len(done)-failed, plural(len(done), "case"), on)
	}
}

// explained is an error of playing, with what its reader can do about it.
func explained(err error) error {
	if content, ok := errors.AsType[*module.ContentError](err); ok {
		return withHint(content, content.Hint)
	}
	return err
}
