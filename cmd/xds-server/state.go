package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/definition"
	"wasmxds/state"
	"wasmxds/state/etcd"
	"wasmxds/state/kube"
	"wasmxds/state/mirror"
)

const stateHelp = `State: what must outlive a restart is stored in the data directory (--state local),
in etcd below --etcd-prefix state/ (--state etcd, the default with --etcd), or in
Secrets of --state-namespace (--state kubernetes). Any number of xds-servers can share
a state in etcd or Kubernetes; xds-server needs write access to it. The data directory
always has a copy: while the store is unavailable, even while xds-server starts, the
last known state stays in force and no wave begins. An xds-server that has neither the
store nor a copy waits.`

// Where the state may be.
const (
	stateLocal      = "local"
	stateEtcd       = "etcd"
	stateKubernetes = "kubernetes"
)

// stateFlags say where the state is.
type stateFlags struct{ in, namespace string }

func (f *stateFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.in, "state", "", "`store` for the state that outlives a restart: local (the data directory), etcd or kubernetes (default etcd with --etcd, otherwise local)")
	cmd.Flags().StringVar(&f.namespace, "state-namespace", "", "`namespace` for --state kubernetes (default that of the pod, or of --kubeconfig)")
	completeValues(cmd, "state", stateLocal, stateEtcd, stateKubernetes)
}

func (f *stateFlags) check(e *etcdFlags) error {
	if f.in == "" {
		if f.in = stateLocal; e.used() {
			f.in = stateEtcd
		}
	}
	switch {
	case f.in != stateLocal && f.in != stateEtcd && f.in != stateKubernetes:
		return fmt.Errorf("--state %s: must be local, etcd or kubernetes", f.in)
	case f.in == stateEtcd && !e.used():
		return errors.New("--state etcd requires --etcd")
	case f.namespace == "":
		return nil
	case f.in != stateKubernetes:
		return errors.New("--state-namespace requires --state kubernetes")
	}
	return checkNamespace(f.namespace)
}

// elsewhere is a store that others may share.
type elsewhere interface {
	mirror.Remote
	// Own says who this process is, also after a restart, and that no other is it.
	Own(id string)
	Close() error
}

// shared says whether others may have the state.
func (f *stateFlags) shared() bool { return f.in != stateLocal }

// elsewhere gives the store that others may share; nil: the state is local.
func (f *stateFlags) elsewhere(e *etcdFlags, k *kubernetesFlags, log *slog.Logger) (elsewhere, error) {
	switch f.in {
	case stateEtcd:
		return etcd.New(e.options(log).Dial, e.prefix+"state/", log), nil
	case stateKubernetes:
		config, namespace, err := k.reach(log)
		if err != nil {
			return nil, err
		}
		return kube.New(config, cmp.Or(f.namespace, namespace), "wasmxds-state", log)
	}
	return nil, nil
}

// waitForState is how long an xds-server that has a copy waits for the store.
const waitForState = 5 * time.Second

// openCopied opens the store elsewhere with a copy in local: of what means the same to
// every xds-server. What else is kept is about this machine and the Envoys that are
// connected to it.
func openCopied(ctx context.Context, name string, elsewhere elsewhere, local state.Store, log *slog.Logger) (*mirror.Store, error) {
	return mirror.Open(ctx, mirror.Options{
		Name: name, Remote: elsewhere, Local: local, Wait: waitForState, Log: log,
		Shared: []string{"definitions/", "modules/filter/", "listeners/", "proved/", "rollout/"},
		Whole:  []string{"definitions/", "rollout/"}, Led: []string{"rollout/"},
	})
}

// problems are what is wrong with the stores.
func (d *dataDir) problems() []definition.Problem {
	return append(d.unsaved(), d.unreached()...)
}

// unsaved says that the disk does not take what is to be kept.
func (d *dataDir) unsaved() []definition.Problem {
	f := d.own.Failing()
	if f.Err == nil {
		return nil
	}
	return []definition.Problem{{File: d.path("state.db"), Warning: true,
		Message: "it can't be written since " + f.Since.UTC().Format(time.RFC3339) + ": " + f.Err.Error(),
		Hint:    "Envoys are not affected, but xds-server would not know after a restart what has changed since then; see to the disk of --data"}}
}

// unreached says that the store elsewhere does not answer.
func (d *dataDir) unreached() []definition.Problem {
	if d.copied == nil {
		return nil
	}
	st := d.copied.Status()
	if st.Away == "" {
		return nil
	}
	p := definition.Problem{File: "state in " + st.Name, Warning: true,
		Message: "it has been away since " + st.Since.UTC().Format(time.RFC3339) + ": " + st.Away,
		Hint:    "what was last known stays in force, and no wave begins"}
	if st.Copy {
		p.Hint = "all rests on the copy on this machine, since xds-server started; no wave begins"
	}
	return []definition.Problem{p}
}
