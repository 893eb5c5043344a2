package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"wasmxds/source/etcd/apply"
)

const applyHelp = `Write definition files to etcd, for "xds-server serve --etcd". Each file becomes
one document. Its name is the file's path without .yaml: edge/hello.

Everything is written in one transaction, or nothing is. Each file is checked as
"validate" does, and then together with everything in etcd. If the result would
have errors, apply reports them and writes nothing. If somebody else writes at the
same time, apply checks again. Modules are not fetched. A document in etcd has no
folder, so modules need a URL.

--label sets labels on the documents. With --prune, documents that have all of
these labels and are not among the files are deleted, so a file that is removed from
a repository also disappears from etcd. Labels are stored beside the document, at
--etcd-prefix labels/NAME.

By default, etcd limits a transaction to 128 operations and 1.5 MiB
(--max-txn-ops, --max-request-bytes). A change takes one operation for each document
that changes, one for each set of labels that changes, and one more. A larger change
is rejected.`

const applyExample = `  xds-server apply --etcd 127.0.0.1:2379 hello.yaml web.yaml

  # what is in this directory, and no other document of team edge
  xds-server apply --etcd 127.0.0.1:2379 --label team=edge --prune definitions/`

type applyFlags struct {
	changeFlags
	prune bool
}

func newApply() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:     "apply --etcd ENDPOINTS PATH...",
		Short:   "Write definitions to etcd",
		Long:    applyHelp,
		Example: applyExample,
		Args:    positional(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	f.add(cmd, "label to set on the documents, as `key=value`; comma-separated or repeatable")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "delete documents that have all the labels and are not among the files")
	return cmd
}

func (f *applyFlags) run(ctx context.Context, out, errs io.Writer, paths []string) error {
	if f.prune && len(f.labels) == 0 {
		return misused(errPruneAll)
	}
	files, problems, err := documentsIn(paths)
	if err != nil {
		return wrong(err)
	}
	if len(problems) > 0 {
		printProblems(errs, "", problems)
		return wrong(errors.New("nothing was changed"))
	}
	return f.change(ctx, apply.Change{Files: files, Labels: f.labels, Prune: f.prune}, out, errs)
}
