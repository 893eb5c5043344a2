package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/source/etcd/apply"
	"wasmxds/textdiff"
)

const diffHelp = `Print what "apply" with the same arguments would change in etcd, as a unified diff.
Nothing is validated; use "apply --dry-run" for that. Private keys and other values that
Envoy's API marks as sensitive are not shown.

Exit code 0: no differences. 1: differences. Greater than 1: an error.`

const diffExample = `  xds-server diff --etcd 127.0.0.1:2379 definitions/
  xds-server diff --etcd 127.0.0.1:2379 --label team=edge --prune definitions/`

type diffFlags struct {
	documentFlags
	prune bool
}

func newDiff() *cobra.Command {
	var f diffFlags
	cmd := &cobra.Command{
		Use:     "diff --etcd ENDPOINTS PATH...",
		Short:   "Compare definitions with those in etcd",
		Long:    diffHelp,
		Example: diffExample,
		Args:    positional(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	f.add(cmd, "label that the documents would get, as `key=value`; comma-separated or repeatable")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "also show the deletion of documents that have all the labels and are not among the files")
	return cmd
}

func (f *diffFlags) run(ctx context.Context, out io.Writer, paths []string) error {
	if f.prune && len(f.labels) == 0 {
		return misused(errPruneAll)
	}
	files, problems, err := documentsIn(paths)
	for _, p := range problems {
		err = errors.Join(err, errors.New(p.Error()))
	}
	if err != nil {
		return misused(err) // 1 would say that there are differences
	}
	return f.open(ctx, func(ctx context.Context, s *apply.Store) error {
		contents, err := f.read(ctx, s)
		if err != nil {
			return err
		}
		plan, err := contents.Plan(apply.Change{Files: files, Labels: f.labels, Prune: f.prune})
		if err != nil {
			return misused(err)
		}
		for _, a := range plan.Actions {
			printAction(out, &a)
		}
		if plan.Changes() {
			return &exitError{code: exitWrong}
		}
		return nil
	})
}

func printAction(out io.Writer, a *apply.Action) {
	if a.What == apply.Unchanged {
		return
	}
	from, to := "/dev/null", "/dev/null"
	var was, is string
	if a.Was != nil {
		from, was = "etcd "+cell(a.Name), string(a.Was.Text)
	}
	if a.File != nil {
		to, is = cell(a.File.Path), string(a.File.Text)
	}
	fmt.Fprintf(out, "--- %s\n+++ %s\n", from, to)
	shownWas, shownIs := masked(a.Name, was), masked(a.Name, is)
	hunks := textdiff.Hunks(textdiff.Lines(shownWas, shownIs))
	for _, h := range hunks {
		fmt.Fprintln(out, h.Head())
		for _, l := range h.Lines {
			fmt.Fprintf(out, "%s%s\n", l.Sign(), l.Text)
		}
	}
	switch {
	case was == is:
		fmt.Fprintln(out, "only its labels")
	case shownWas == shownIs:
		fmt.Fprintln(out, "only a secret, which is not shown")
	case len(hunks) == 0:
		fmt.Fprintf(out, "its line ends, or what comes after %d lines\n", textdiff.Most)
	}
}

// masked returns the text of a document without the values that Envoy's API marks as
// sensitive, as far as the document can be read.
func masked(name, text string) string {
	file, _ := kinds.Parser().Parse(absolute(name), []byte(text))
	if file == nil {
		return text
	}
	for _, r := range file.Resources {
		_, secrets := definition.Redact(r.Message)
		for _, secret := range secrets {
			text = mask(text, secret)
		}
	}
	return text
}

// mask replaces a value in a text, in which it may have several lines, or be encoded as the
// JSON form of bytes.
func mask(text, secret string) string {
	forms := []string{
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
		base64.RawStdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	for line := range strings.Lines(secret) {
		forms = append(forms, strings.TrimSpace(line))
	}
	for _, form := range forms {
		const short = 8 // bytes: a word like others
		switch {
		case form == "":
		case len(form) >= short:
			text = strings.ReplaceAll(text, form, definition.Redacted)
		default:
			text = regexp.MustCompile(`(^|[^\w])`+regexp.QuoteMeta(form)+`($|[^\w])`).ReplaceAllString(text, "${1}"+definition.Redacted+"${2}")
		}
	}
	return text
}
