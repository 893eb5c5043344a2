package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"wasmxds/source/kube"
	"wasmxds/source/kube/conditions"
)

const kubernetesHelp = `Kubernetes: with --kubernetes, definitions also come from objects in a Kubernetes
cluster: the kinds that "xds-server crds" prints, and WasmPlugin, TrafficExtension,
EnvoyFilter and EnvoyExtensionPolicy if the API server serves them. An object applies
to the Envoys of its own namespace, which is NAMESPACE in their node metadata. Objects
in --root-namespace can apply to all Envoys. While the API server is unavailable, or
access to a kind is denied, the last known definitions stay in force. xds-server uses
its pod's service account, or --kubeconfig.`

// kubernetesFlags say which cluster is read, and what of it.
type kubernetesFlags struct {
	on, status        bool
	config, root      string
	namespaces, kinds []string
}

func (f *kubernetesFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&f.on, "kubernetes", false, "read definitions from a Kubernetes cluster")
	flags.StringVar(&f.config, "kubeconfig", "", "kubeconfig `file` (default the pod's service account)")
	flags.StringSliceVar(&f.namespaces, "namespaces", nil, "`namespaces` to read, in addition to the root namespace; comma-separated (default all)")
	flags.StringVar(&f.root, "root-namespace", kube.DefaultRoot, "`namespace` whose objects may apply to the Envoys of every namespace")
	flags.StringSliceVar(&f.kinds, "kubernetes-kinds", nil, "`kinds` to read, comma-separated: "+strings.Join(kube.Kinds(), ", ")+" (default all)")
	flags.BoolVar(&f.status, "kubernetes-status", false, "write conditions to the status of objects, Events, and a Change object for each rollout (only the leader writes)")
	completeValues(cmd, "kubernetes-kinds", kube.Kinds()...)
}

func (f *kubernetesFlags) check(state string) error {
	switch {
	case f.on:
	case f.config != "" && state != stateKubernetes:
		return errors.New("--kubeconfig requires --kubernetes or --state kubernetes")
	case f.status || len(f.namespaces) > 0 || len(f.kinds) > 0:
		return errors.New("--kubernetes-status, --namespaces and --kubernetes-kinds require --kubernetes")
	default:
		return nil
	}
	for _, name := range append(f.namespaces, f.root) {
		if err := checkNamespace(name); err != nil {
			return err
		}
	}
	return kube.Check(f.kinds)
}

func checkNamespace(name string) error {
	if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
		return fmt.Errorf("%q is not a valid namespace: %s", name, wrong[0])
	}
	return nil
}

// ownNamespace is the file in a pod that has its namespace.
const ownNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// reach says how the API server is reached, and the namespace of who does.
func (f *kubernetesFlags) reach(log *slog.Logger) (*rest.Config, string, error) {
	var config *rest.Config
	var namespace string
	var err error
	if f.config != "" {
		file := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: f.config}, &clientcmd.ConfigOverrides{})
		if config, err = file.ClientConfig(); err == nil {
			namespace, _, err = file.Namespace()
		}
	} else if config, err = rest.InClusterConfig(); errors.Is(err, rest.ErrNotInCluster) {
		err = errors.New("not running in a pod of a cluster: set --kubeconfig")
	} else if err == nil {
		var b []byte
		b, err = os.ReadFile(ownNamespace)
		namespace = strings.TrimSpace(string(b))
	}
	if err != nil {
		return nil, "", fmt.Errorf("find the API server: %w", err)
	}
	config.UserAgent = "xds-server/" + buildVersion()
	klog.SetSlogLogger(log.With("of", "client-go")) // the only log that it knows
	return config, namespace, nil
}

// cluster is what the flags say; nil: none.
func (f *kubernetesFlags) cluster(removeAll bool, log *slog.Logger) (*kube.Cluster, error) {
	if !f.on {
		return nil, nil
	}
	config, _, err := f.reach(log)
	if err != nil {
		return nil, err
	}
	return &kube.Cluster{
		Config: config, Namespaces: f.namespaces, Root: f.root, Kinds: f.kinds, RemoveAll: removeAll, Log: log,
	}, nil
}

// writers write the status of objects, and how far changes are; nil: nobody does.
func (f *kubernetesFlags) writers(cluster *kube.Cluster, log *slog.Logger) (*conditions.Writer, *conditions.Changes, error) {
	if !f.status {
		return nil, nil, nil
	}
	client, err := dynamic.NewForConfig(cluster.Config)
	if err != nil {
		return nil, nil, fmt.Errorf("reach the API server: %w", err)
	}
	return &conditions.Writer{Client: client, Objects: cluster.Objects, Log: log},
		&conditions.Changes{Client: client, Namespace: f.root, Log: log}, nil
}
