package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"wasmxds/source/etcd/apply"
)

const applyHelp = `Put files of definitions into etcd, for "xds-server serve --etcd". A file becomes
one document, called by its name without .yaml; one of a directory by its path
there: edge/hello.

All of it is written in one transaction, or nothing. Each file is checked as
"validate" does, and all of them with what is in etcd: what would be wrong then is
told, and refused. If somebody else changes something meanwhile, it is checked
again. Modules are left alone; a document has no folder, so they need a URL.

--label gives the documents labels. With --prune, documents that have all of these
labels and are not among the files are deleted: so what a repository has put there
goes when its file does. A document's labels are kept beside it, at
--etcd-prefix labels/NAME.

One transaction of etcd takes 128 operations and 1.5 MiB unless it is told
otherwise (--max-txn-ops, --max-request-bytes): one for each document that
changes, one more for labels that do, and one. A change that is larger is refused.`

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
		Short:   "Put definitions into etcd",
		Long:    applyHelp,
		Example: applyExample,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	f.add(cmd, "a label of the documents, as `key=value`; may be repeated")
	cmd.Flags().BoolVar(&f.prune, "prune", false, "delete documents with all the labels that are not among the files")
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
