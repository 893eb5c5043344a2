// Command xds-server keeps Wasm filters on a fleet of Envoys the way they are
// written in a directory, in etcd or in a Kubernetes cluster.
//
// This package is flags and wiring; what is done is done by the packages
// beside it. `xds-server help` is its documentation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"wasmxds/printable"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it ends when the command is done, or when ctx is
// and what the command started has ended.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	stdout, stderr = printable.NewWriter(stdout), printable.NewWriter(stderr) // much of it is text of others
	root := newRoot(newEnvironment(environ))
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var e *exitError
	if !errors.As(err, &e) { // cobra's own: an unknown command or flag, a wrong number of arguments
		e = &exitError{exitUsage, err}
	}
	printError(stderr, "xds-server", err)
	if e.code == exitUsage {
		fmt.Fprintf(stderr, "hint: %s --help\n", cmd.CommandPath())
	}
	return e.code
}

// printError writes an error, where not all has been said, and what its reader can do
// about it.
func printError(out io.Writer, who string, err error) {
	said := err
	var e *exitError
	if errors.As(err, &e) {
		said = e.err
	}
	if said != nil {
		fmt.Fprintf(out, "%s: %v\n", who, said)
	}
	var h *hinted
	if errors.As(err, &h) {
		fmt.Fprintf(out, "hint: %s\n", h.hint)
	}
}

// Exit codes, as the root command's help has them.
const (
	exitWrong       = 1
	exitUsage       = 2
	exitUnreachable = 3
)

// exitError ends the program with a code. A nil err: all has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return fmt.Sprintf("exit %d: %v", e.code, e.err) }
func (e *exitError) Unwrap() error { return e.err }

func wrong(err error) error       { return &exitError{exitWrong, err} }
func misused(err error) error     { return &exitError{exitUsage, err} }
func unreachable(err error) error { return &exitError{exitUnreachable, err} }
