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
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"

	"wasmxds/definition"
	"wasmxds/printable"
	"wasmxds/resource"
)

const renderHelp = `Print every resource that an Envoy with this ID, cluster and labels would receive,
with its type. No server and no Envoy is needed. Modules are fetched, because the
resources contain their SHA-256.

The listener "primer" and the route "primer/gate" prepare filters in Envoy before any
request reaches them; the primer is not bound to a port. The slots of a listener are
named slot/LISTENER/ID/0 and so on. A spare slot holds a filter that does nothing.

The output is what a new Envoy would receive. A running Envoy keeps its listeners,
and an added filter goes into one of their spare slots.

Exit code 1: the definitions have errors, which are printed to stderr. The output is
what Envoy would receive nevertheless.`

const renderExample = `  xds-server render --definitions definitions/ --node-id edge-1
  xds-server render --definitions definitions/ --node-id edge-1 --node-cluster edge --node-label app=web

  # compare what an Envoy would receive from two versions
  diff <(xds-server render --definitions main/ --node-id edge-1) <(xds-server render --definitions branch/ --node-id edge-1)`

var (
	errNoDefinitions = errors.New("--definitions is required: the directory to read")
	errNoNode        = errors.New("--node-id is required: the node id of the Envoy")
)

type nodeFlags struct {
	id, cluster, namespace string
	labels                 map[string]string
}

// node is the Envoy that the flags describe.
func (n *nodeFlags) node() definition.Node {
	labels := maps.Clone(n.labels)
	delete(labels, definition.NamespaceLabel)
	if n.namespace != "" {
		if labels == nil {
			labels = map[string]string{}
		}
		labels[definition.NamespaceLabel] = n.namespace
	}
	return definition.Node{ID: n.id, Cluster: n.cluster, Labels: labels}
}

func (n *nodeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&n.id, "node-id", "", "Envoy's node `id`")
	flags.StringVar(&n.cluster, "node-cluster", "", "Envoy's node `cluster`")
	flags.StringVar(&n.namespace, "node-namespace", "", "Kubernetes `namespace` of the Envoy; it gets the objects of this namespace")
	flags.StringToStringVar(&n.labels, "node-label", nil, "label of the Envoy, as `key=value`; comma-separated or repeatable")
}

type renderFlags struct {
	node                            nodeFlags
	definitions, output, modulesURL string
	timeout                         time.Duration
	origins                         originFlags
	spares                          spareFlags
	signals                         signalsFlags
}

func newRender() *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:     "render --definitions DIR --node-id ID",
		Short:   "Print the resources that an Envoy would receive",
		Long:    renderHelp,
		Example: renderExample,
		Args:    positional(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.definitions, "definitions", "", "`directory` of definitions")
	f.node.add(cmd)
	flags.StringVar(&f.modulesURL, "modules-url", "http://127.0.0.1:18001", "`URL` from which Envoys download modules")
	flags.StringVarP(&f.output, "output", "o", "yaml", "output `format`: yaml or json")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "`time` limit for fetching and trying all modules")
	completeValues(cmd, "output", "yaml", "json")
	completeDir(cmd, "definitions")
	f.spares.add(cmd)
	f.signals.add(cmd)
	f.origins.add(cmd)
	return cmd
}

func (f *renderFlags) run(ctx context.Context, out, errs io.Writer) error {
	switch {
	case f.definitions == "":
		return misused(errNoDefinitions)
	case f.node.id == "":
		return misused(errNoNode)
	case f.output != "yaml" && f.output != "json":
		return misused(fmt.Errorf("--output %s: must be yaml or json", f.output))
	}
	spares, err := f.spares.spares()
	signals, wrongSignals := f.signals.signals()
	recordHeaders, wrongHeaders := f.signals.recordHeaders()
	if err := errors.Join(err, wrongSignals, wrongHeaders); err != nil {
		return misused(err)
	}
	files, err := definitionsOf([]string{f.definitions}, f.origins.roots)
	if err != nil {
		return wrong(err)
	}
	set, problems := readDefinitions(files, []string{f.definitions})
	modules, _, err := fetchModules(ctx, set, []string{f.definitions}, &f.origins, f.timeout)
	if err != nil {
		return wrong(err)
	}
	pairs, err := f.origins.pairs(ctx, set, []string{f.definitions})
	if err != nil {
		return wrong(err)
	}
	for l, p := range pairs {
		if len(p.Key) > 0 {
			shown := *p
			shown.Key = []byte("is not shown")
			pairs[l] = &shown
		}
	}
	catalog, found := resource.Compile(nil, resource.Sets{Base: modules, Pairs: pairs}, resource.Options{ModulesURL: f.modulesURL, Spares: spares, Signals: signals, RecordHeaders: strings.Join(recordHeaders, ",")})
	snapshot := catalog.Snapshot(f.node.node(), "")
	if err := printSnapshot(out, snapshot, f.output); err != nil {
		return wrong(err)
	}
	problems = asTyped(slices.Concat(problems, modules.Problems, found.Base), files)
	printProblems(errs, "", problems)
	if slices.ContainsFunc(problems, func(p definition.Problem) bool { return !p.Warning }) {
		return &exitError{code: exitWrong}
	}
	return nil
}

func printSnapshot(out io.Writer, s *resource.Snapshot, format string) error {
	var docs []json.RawMessage
	for _, r := range resourcesOf(s) {
		b, err := protojson.Marshal(&anypb.Any{TypeUrl: r.TypeURL, Value: r.Value})
		if err != nil {
			return fmt.Errorf("print %s %q: %w", r.TypeURL, r.Name, err)
		}
		docs = append(docs, b)
	}
	if format == "json" {
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(map[string]any{"resources": docs}); err != nil {
			return err
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b.Bytes(), "", "  "); err != nil {
			return err
		}
		_, err := pretty.WriteTo(out)
		return err
	}
	for _, d := range docs {
		if err := printYAML(out, d); err != nil {
			return err
		}
	}
	return nil
}

// resourcesOf are all resources of a snapshot, in the order in which an Envoy
// needs them.
func resourcesOf(s *resource.Snapshot) []*resource.Resource {
	all := slices.Concat(s.Clusters, s.Endpoints, s.Secrets)
	if s.Primer != nil {
		all = append(all, s.Primer.Resource)
	}
	for _, f := range s.Filters {
		if f.Missing == "" {
			all = append(all, f.Twin(0))
		}
	}
	for _, l := range s.Listeners {
		all = append(all, l.Resource)
	}
	all = append(all, s.Routes...)
	for _, c := range s.Contents() {
		all = append(all, c.Resource)
	}
	all = append(all, s.Static...)
	if s.Gate != nil {
		all = append(all, s.Gate)
	}
	return all
}

// printYAML prints JSON as a YAML document, with its keys in their order.
func printYAML(out io.Writer, doc []byte) error {
	var node yaml.Node
	if err := yaml.Unmarshal(printable.JSON(doc), &node); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	block(&node)
	io.WriteString(out, "---\n")
	enc := yaml.NewEncoder(out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	return enc.Close()
}

// block makes a node be written over lines, with quotes only where needed: also
// around what is written as escapes.
func block(n *yaml.Node) {
	n.Style = 0
	if printable.Lines(n.Value) != n.Value {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		block(c)
	}
}
