package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/state"
	"wasmxds/state/etcd"
	"wasmxds/state/mirror"
)

const stateHelp = `What a restart needs is kept in the data directory or, with --state etcd, in etcd
below --etcd-prefix state/, so that an xds-server with an empty data directory goes
on from there. A copy stays in the data directory: while etcd is away, also while
xds-server starts, what was last known goes on, and no wave begins. An xds-server
that has neither etcd nor a copy waits. It is for one xds-server at a time.`

// stateFlags say where the state is.
type stateFlags struct{ in string }

func (f *stateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.in, "state", "local", "`where` to keep what a restart needs: local, in the data directory, or etcd")
	completeValues(cmd, "state", "local", "etcd")
}

func (f *stateFlags) check(e *etcdFlags) error {
	switch {
	case f.in != "local" && f.in != "etcd":
		return fmt.Errorf("--state %s: local or etcd", f.in)
	case f.in == "etcd" && !e.used():
		return errors.New("--state etcd needs --etcd")
	}
	return nil
}

// elsewhere gives the store that others may share; nil: the state is local.
func (f *stateFlags) elsewhere(e *etcdFlags, log *slog.Logger) *etcd.Store {
	if f.in != "etcd" {
		return nil
	}
	return etcd.New(e.options(log).Dial, e.prefix+"state/", log)
}

// waitForState is how long an xds-server that has a copy waits for the store.
const waitForState = 5 * time.Second

// openCopied opens the store elsewhere with a copy in local: of what means the same to
// every xds-server. What else is kept is about this machine and the Envoys that are
// connected to it.
func openCopied(ctx context.Context, elsewhere *etcd.Store, local state.Store, log *slog.Logger) (*mirror.Store, error) {
	return mirror.Open(ctx, mirror.Options{
		Name: "etcd", Remote: elsewhere, Local: local, Wait: waitForState, Log: log,
		Shared: []string{"definitions/", "modules/filter/", "listeners/", "proved/", "rollout/"},
		Whole:  []string{"definitions/", "rollout/"},
	})
}

// problems are what is wrong with the store.
func (d *dataDir) problems() []definition.Problem {
	if d.copied == nil {
		return nil
	}
	st := d.copied.Status()
	if st.Away == "" {
		return nil
	}
	p := definition.Problem{File: "state in " + st.Name, Warning: true,
		Message: "it has been away since " + st.Since.UTC().Format(time.RFC3339) + ": " + st.Away,
		Hint:    "what was last known goes on, and no wave begins"}
	if st.Copy {
		p.Hint = "all rests on the copy on this machine, since xds-server started; no wave begins"
	}
	return []definition.Problem{p}
}
