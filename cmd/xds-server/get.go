package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"wasmxds/source/etcd/apply"
)

const getHelp = `Print documents in etcd: those with the given names or labels, or all.

-o yaml prints the text of each document after a --- line and a comment with its
name. -o name prints only the names. -o json prints name, labels, revision and
definitions, or the text if it cannot be parsed.`

const getExample = `  xds-server get --etcd 127.0.0.1:2379
  xds-server get --etcd 127.0.0.1:2379 -o name --label team=edge
  xds-server get --etcd 127.0.0.1:2379 -o json hello | jq '.documents[].definitions[].module'`

type getFlags struct {
	documentFlags
	output string
}

func newGet() *cobra.Command {
	var f getFlags
	cmd := &cobra.Command{
		Use:     "get --etcd ENDPOINTS [NAME...]",
		Short:   "Print definitions in etcd",
		Long:    getHelp,
		Example: getExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	f.add(cmd, "only documents with this label, as `key=value`; comma-separated or repeatable")
	cmd.Flags().StringVarP(&f.output, "output", "o", "yaml", "output `format`: yaml, json or name")
	completeValues(cmd, "output", "yaml", "json", "name")
	return cmd
}

func (f *getFlags) run(ctx context.Context, out io.Writer, names []string) error {
	if f.output != "yaml" && f.output != "json" && f.output != "name" {
		return misused(fmt.Errorf("--output %s: must be yaml, json or name", f.output))
	}
	return f.open(ctx, func(ctx context.Context, s *apply.Store) error {
		contents, err := f.read(ctx, s)
		if err != nil {
			return err
		}
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(contents.Documents))
		}
		var missing []error
		var documents []*apply.Document
		for _, name := range names {
			switch d := contents.Documents[name]; {
			case d == nil:
				missing = append(missing, fmt.Errorf("no document %s", name))
			case d.Labels.Have(f.labels):
				documents = append(documents, d)
			}
		}
		if err := errors.Join(f.print(out, documents), errors.Join(missing...)); err != nil {
			return wrong(err)
		}
		return nil
	})
}

func (f *getFlags) print(out io.Writer, documents []*apply.Document) error {
	if f.output == "json" {
		return printDocuments(out, documents)
	}
	for _, d := range documents {
		if f.output == "name" {
			fmt.Fprintln(out, cell(d.Name))
			continue
		}
		fmt.Fprintf(out, "---\n# %s\n%s", cell(d.Name), d.Text)
		if !bytes.HasSuffix(d.Text, []byte("\n")) {
			fmt.Fprintln(out)
		}
	}
	return nil
}

// printed is what get -o json prints of a document.
type printed struct {
	Name        string       `json:"name"`
	Revision    int64        `json:"revision"`
	Labels      apply.Labels `json:"labels,omitempty"`
	Definitions []any        `json:"definitions,omitempty"`
	Text        string       `json:"text,omitempty"` // where it can't be read
}

func printDocuments(out io.Writer, documents []*apply.Document) error {
	all := []printed{}
	for _, d := range documents {
		p := printed{Name: d.Name, Revision: d.Revision, Labels: d.Labels}
		var err error
		if p.Definitions, err = definitionsIn(d.Text); err != nil {
			p.Definitions, p.Text = nil, string(d.Text)
		}
		all = append(all, p)
	}
	return printJSON(out, map[string]any{"documents": all})
}

// definitionsIn reads a text as values that JSON has, too.
func definitionsIn(text []byte) ([]any, error) {
	var all []any
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var v any
		if err := decoder.Decode(&v); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if _, err := json.Marshal(v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}
