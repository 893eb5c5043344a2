package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/definition/kinds"
	"wasmxds/source/etcd/apply"
)

var (
	errNoEtcd   = errors.New("--etcd is required: the endpoints of the etcd that has the documents")
	errPruneAll = errors.New("--prune requires --label: it deletes the documents that have these labels and are not among the files")
)

// documentFlags are those of the commands for documents in etcd.
type documentFlags struct {
	etcd    etcdFlags
	labels  map[string]string
	timeout time.Duration
}

func (f *documentFlags) add(cmd *cobra.Command, labels string) {
	f.etcd.add(cmd)
	flags := cmd.Flags()
	flags.StringToStringVarP(&f.labels, "label", "l", nil, labels)
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "give up after this `time`")
}

// open connects to etcd, and runs with what is there.
func (f *documentFlags) open(ctx context.Context, run func(context.Context, *apply.Store) error) error {
	if !f.etcd.used() {
		return misused(errNoEtcd)
	}
	for key, value := range f.labels {
		if !apply.IsLabel(key) || !apply.IsLabel(value) {
			return misused(fmt.Errorf("--label %s=%s: must consist of at most 63 letters and digits, with -_./ between them", key, value))
		}
	}
	if err := f.etcd.check(); err != nil {
		return misused(err)
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	client, err := f.etcd.options(slog.New(slog.DiscardHandler)).Dial(ctx)
	if err != nil {
		return unreachable(err)
	}
	defer client.Close()
	return run(ctx, &apply.Store{Client: client, Prefix: f.etcd.prefix})
}

// read reads what there is.
func (f *documentFlags) read(ctx context.Context, s *apply.Store) (*apply.Contents, error) {
	contents, err := s.Read(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("etcd does not answer: %w", err)
	}
	if err != nil {
		return nil, unreachable(err)
	}
	return contents, nil
}

// documentsIn reads files and folders as documents: below a folder each is
// called by its path there.
func documentsIn(paths []string) ([]apply.File, []definition.Problem, error) {
	var all []apply.File
	var problems []definition.Problem
	for _, path := range paths {
		files, err := definitionsOf([]string{path}, nil)
		if err != nil {
			return nil, nil, err
		}
		if len(files) == 0 {
			return nil, nil, fmt.Errorf("no definitions in %s: their names end in .yaml, .yml or .json", path)
		}
		for _, file := range files {
			text, err := readLimited(file)
			if err != nil {
				problems = append(problems, definition.Problem{File: file, Message: err.Error()})
			}
			name := filepath.Base(file)
			if file != path {
				if name, err = filepath.Rel(path, file); err != nil {
					return nil, nil, err
				}
			}
			all = append(all, apply.File{Name: documentName(name), Path: file, Text: text})
		}
	}
	return all, problems, nil
}

// documentName is what the document of a file is called. It tells whether it is
// JSON, as that of a file does.
func documentName(file string) string {
	name := filepath.ToSlash(file)
	for _, ending := range []string{".yaml", ".yml"} {
		if strings.EqualFold(filepath.Ext(name), ending) {
			return name[:len(name)-len(ending)]
		}
	}
	return name
}

// readAlso reads the definitions that are served beside those in etcd.
func readAlso(dir string) ([]*definition.File, error) {
	if dir == "" {
		return nil, nil
	}
	files, err := definitionsOf([]string{dir}, nil)
	if err != nil {
		return nil, err
	}
	var all []*definition.File
	for _, name := range files {
		text, err := readWithConfig(name, []string{dir})
		if err != nil {
			return nil, err
		}
		if file, _ := kinds.Parser().Parse(absolute(name), text); file != nil {
			all = append(all, file)
		}
	}
	return all, nil
}
