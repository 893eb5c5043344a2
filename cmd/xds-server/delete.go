package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"wasmxds/source/etcd/apply"
)

const deleteHelp = `Delete documents in etcd by name, by the files that they were created from, or by
labels. All of them are deleted in one transaction, or none. If what remains would
have errors, delete reports them and changes nothing: a filter that names a deleted
listener, for example, must be deleted with it.`

const deleteExample = `  xds-server delete --etcd 127.0.0.1:2379 hello edge/web
  xds-server delete --etcd 127.0.0.1:2379 --file definitions/
  xds-server delete --etcd 127.0.0.1:2379 --label team=edge`

type deleteFlags struct {
	changeFlags
	files          paths
	ignoreNotFound bool
}

func newDelete() *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:     "delete --etcd ENDPOINTS [NAME...]",
		Short:   "Delete definitions in etcd",
		Long:    deleteHelp,
		Example: deleteExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), args)
		},
	}
	f.add(cmd, "delete documents with this label, as `key=value`; comma-separated or repeatable, then only those with all the labels")
	flags := cmd.Flags()
	flags.VarP(&f.files, "file", "f", "`path` of a file or directory whose documents are deleted; repeatable")
	flags.BoolVar(&f.ignoreNotFound, "ignore-not-found", false, "ignore documents that do not exist")
	return cmd
}

func (f *deleteFlags) run(ctx context.Context, out, errs io.Writer, names []string) error {
	given := 0
	for _, some := range []bool{len(names) > 0, len(f.files) > 0, len(f.labels) > 0} {
		if some {
			given++
		}
	}
	if given != 1 {
		return misused(errors.New("specify what to delete: names, --file or --label"))
	}
	if len(f.files) > 0 {
		files, _, err := documentsIn(f.files)
		if err != nil {
			return wrong(err)
		}
		for _, file := range files {
			names = append(names, file.Name)
		}
	}
	change := apply.Change{Delete: names, IgnoreNotFound: f.ignoreNotFound, Labels: f.labels, Prune: len(f.labels) > 0}
	return f.change(ctx, change, out, errs)
}
