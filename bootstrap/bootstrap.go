// Package bootstrap writes the configuration that an Envoy starts with: its
// identity and where it gets everything else from.
//
// Start with [Render]. It is pure: the same options give the same bytes. The
// document is the Bootstrap of
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/bootstrap/v3/bootstrap.proto
// in YAML, checked against Envoy's own validation rules.
package bootstrap

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"wasmxds/definition"
	"wasmxds/printable"
)

// Protocol is the variant of xDS that an Envoy uses.
type Protocol string

const (
	Delta Protocol = "delta" // only changes; the default
	SOTW  Protocol = "sotw"  // state of the world: all resources of a type each time
)

// XDSCluster and ModulesCluster are the names of the clusters that lead to
// xds-server.
const (
	XDSCluster     = "wasmxds"
	ModulesCluster = "wasmxds-modules"
)

// Options are the options of a bootstrap. Node.ID and XDSAddress are required.
type Options struct {
	Node         definition.Node
	XDSAddress   string   // host:port of xds-server, as seen from the Envoy; comma-separated for several replicas
	Replicas     int      // number of replicas behind a single XDSAddress, such as a Service; otherwise 0
	AdminAddress string   // host:port of Envoy's admin interface; "": none
	Protocol     Protocol // "": Delta

	// Static, when not empty, makes a bootstrap whose Envoy has its own
	// listeners (and the clusters they need), and gets only the filters that
	// their config_discovery slots request. See [definition.ParseStatic].
	Static []*definition.Resource
	// Services are the Wasm services that the Envoy starts with.
	Services []Service
	// ModulesURL is the URL at which the Envoy reaches xds-server's modules;
	// comma-separated for several replicas. It is required with Static or
	// Services, and with TLS if it is https: only the bootstrap has the paths
	// of certificates on the Envoy's machine, and a cluster in the bootstrap
	// takes precedence over one of the same name from CDS. Other Envoys get the
	// cluster by CDS.
	ModulesURL string

	// DrainTime is the --drain-time-s that the Envoy is started with, in whole
	// seconds; 0 is Envoy's default of 10 minutes. The bootstrap reports any
	// other value to xds-server, so that it knows when the connections of a
	// listener that was replaced are drained.
	DrainTime time.Duration

	// HangTimeout is how long a filter may block a worker thread before Envoy
	// kills itself, to be restarted by its supervisor: 1s to 24h; 0: no limit.
	HangTimeout time.Duration

	// TLS, when set, is how the Envoy authenticates itself and xds-server.
	TLS *TLS
}

// Render returns the bootstrap as YAML. Its errors are about the options.
func Render(o Options) ([]byte, error) {
	b, err := o.bootstrap()
	if err != nil {
		return nil, err
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	y, err := toYAML(b)
	if err != nil {
		return nil, err
	}
	return append([]byte(o.comment()), y...), nil
}

func (o Options) bootstrap() (*bootstrapv3.Bootstrap, error) {
	if o.Node.ID == "" {
		return nil, errors.New("an Envoy needs a node ID")
	}
	if err := o.checkDrainTime(); err != nil {
		return nil, err
	}
	if err := o.checkHangTimeout(); err != nil {
		return nil, err
	}
	api := corev3.ApiConfigSource_DELTA_GRPC
	switch o.Protocol {
	case "", Delta:
	case SOTW:
		api = corev3.ApiConfigSource_GRPC
	default:
		return nil, fmt.Errorf("protocol %q is neither delta nor sotw", o.Protocol)
	}
	xds, err := o.xdsCluster()
	if err != nil {
		return nil, err
	}
	b := &bootstrapv3.Bootstrap{
		Node: o.node(),
		DynamicResources: &bootstrapv3.Bootstrap_DynamicResources{
			AdsConfig: adsConfig(api),
			CdsConfig: fromADS(),
			LdsConfig: fromADS(),
		},
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{Clusters: []*clusterv3.Cluster{xds}},
		LayeredRuntime:  o.runtime(),
		Watchdogs:       o.watchdogs(),
	}
	if o.AdminAddress != "" {
		at, err := parseAddress("the admin address", o.AdminAddress)
		if err != nil {
			return nil, err
		}
		b.Admin = &bootstrapv3.Admin{Address: at.proto()}
	}
	if b.BootstrapExtensions, err = o.services(); err != nil {
		return nil, err
	}
	if len(o.Static) > 0 || len(o.Services) > 0 || o.TLS != nil && strings.HasPrefix(o.ModulesURL, "https:") {
		modules, err := o.modulesCluster()
		if err != nil {
			return nil, err
		}
		b.StaticResources.Clusters = append(b.StaticResources.Clusters, modules)
	}
	if len(o.Static) > 0 {
		return b, o.static(b)
	}
	return b, nil
}

// static adds the Envoy's own resources and removes the sources of others.
func (o Options) static(b *bootstrapv3.Bootstrap) error {
	b.DynamicResources.CdsConfig, b.DynamicResources.LdsConfig = nil, nil
	static := b.StaticResources
	for _, r := range o.Static {
		switch m := r.Message.(type) {
		case *listenerv3.Listener:
			static.Listeners = append(static.Listeners, m)
		case *clusterv3.Cluster:
			if m.Name == XDSCluster || m.Name == ModulesCluster {
				return definition.Problem{File: r.Pos.File, Line: r.Pos.Line, Field: "name",
					Message: fmt.Sprintf("cluster %q is the way to xds-server, and written by it", m.Name)}
			}
			static.Clusters = append(static.Clusters, m)
		default:
			return definition.Problem{File: r.Pos.File, Line: r.Pos.Line, Message: fmt.Sprintf("%s does not go into a bootstrap", r.TypeURL)}
		}
	}
	return nil
}

func (o Options) node() *corev3.Node {
	n := &corev3.Node{Id: o.Node.ID, Cluster: o.Node.Cluster}
	if n.Cluster == "" {
		n.Cluster = o.Node.ID // Envoy requires one
	}
	meta := map[string]*structpb.Value{}
	if len(o.Node.Labels) > 0 {
		labels := map[string]*structpb.Value{}
		for k, v := range o.Node.Labels {
			if k == definition.NamespaceLabel {
				meta["NAMESPACE"] = structpb.NewStringValue(v)
				continue
			}
			labels[k] = structpb.NewStringValue(v)
		}
		if len(labels) > 0 {
			meta["LABELS"] = structpb.NewStructValue(&structpb.Struct{Fields: labels})
		}
	}
	if told := o.told(); len(told) > 0 {
		meta["wasmxds"] = structpb.NewStructValue(&structpb.Struct{Fields: told})
	}
	if len(meta) > 0 {
		n.Metadata = &structpb.Struct{Fields: meta}
	}
	return n
}

// told returns what the node's metadata reports to xds-server about the
// bootstrap.
func (o Options) told() map[string]*structpb.Value {
	told := map[string]*structpb.Value{}
	if o.ownDrainTime() {
		told["drainTime"] = structpb.NewStringValue(fmt.Sprintf("%ds", int64(o.DrainTime.Seconds())))
	}
	if len(o.Services) > 0 {
		told["services"] = o.toldServices()
	}
	if n := max(len(replicas(o.XDSAddress)), o.Replicas); n > 1 {
		told["replicas"] = structpb.NewNumberValue(float64(n)) // the Envoy has other replicas to connect to
	}
	return told
}

// Backoff before a broken stream is reopened: random, up to a bound that
// doubles from the first to the last value. Envoy's default goes up to 30 s; a
// restart of xds-server must not have effects for that long.
const (
	firstReconnect = 250 * time.Millisecond
	lastReconnect  = 5 * time.Second
)

func adsConfig(api corev3.ApiConfigSource_ApiType) *corev3.ApiConfigSource {
	return &corev3.ApiConfigSource{
		ApiType:                   api,
		TransportApiVersion:       corev3.ApiVersion_V3,
		SetNodeOnFirstMessageOnly: true,
		GrpcServices: []*corev3.GrpcService{{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{
				ClusterName: XDSCluster,
				RetryPolicy: &corev3.RetryPolicy{RetryBackOff: &corev3.BackoffStrategy{
					BaseInterval: durationpb.New(firstReconnect),
					MaxInterval:  durationpb.New(lastReconnect),
				}},
			}},
		}},
	}
}

// MaxModule is the size in bytes of the largest module that an Envoy with this
// bootstrap loads: it holds a whole download in memory, by default up to 32
// MiB.
const MaxModule = 128 << 20

// runtime returns runtime layers that let Envoy load modules of up to
// MaxModule. The last layer is the only one of an Envoy without a configured
// runtime: what is set at its admin interface. The middle one is xds-server's,
// which determines how many requests the Envoy reports.
func (o Options) runtime() *bootstrapv3.LayeredRuntime {
	static := &bootstrapv3.RuntimeLayer{Name: "wasmxds", LayerSpecifier: &bootstrapv3.RuntimeLayer_StaticLayer{StaticLayer: &structpb.Struct{
		Fields: map[string]*structpb.Value{"http.async_response_buffer_limit": structpb.NewNumberValue(MaxModule)},
	}}}
	admin := &bootstrapv3.RuntimeLayer{Name: "admin", LayerSpecifier: &bootstrapv3.RuntimeLayer_AdminLayer_{AdminLayer: &bootstrapv3.RuntimeLayer_AdminLayer{}}}
	if len(o.Static) > 0 { // it starts without xds-server, and its listeners are its own
		return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{static, admin}}
	}
	source := fromADS()
	source.InitialFetchTimeout = durationpb.New(runtimeTimeout)
	signals := &bootstrapv3.RuntimeLayer{Name: "wasmxds-signals", LayerSpecifier: &bootstrapv3.RuntimeLayer_RtdsLayer_{
		RtdsLayer: &bootstrapv3.RuntimeLayer_RtdsLayer{Name: definition.RuntimeLayer, RtdsConfig: source},
	}}
	return &bootstrapv3.LayeredRuntime{Layers: []*bootstrapv3.RuntimeLayer{static, signals, admin}}
}

// runtimeTimeout bounds how long Envoy waits for its runtime before it requests
// anything else. An xds-server without this layer does not answer, and would
// delay each start by Envoy's default of 15 s.
const runtimeTimeout = time.Second

// fromADS returns a config source without a timeout. After Envoy's default of
// 15 s, an Envoy would be ready without listening anywhere.
func fromADS() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		ResourceApiVersion:    corev3.ApiVersion_V3,
		InitialFetchTimeout:   durationpb.New(0),
	}
}

// toYAML formats a message in the form of Envoy's documentation, in the order
// of its fields.
func toYAML(m proto.Message) ([]byte, error) {
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	var doc yaml.Node // keeps the order
	if err := yaml.Unmarshal(printable.JSON(text), &doc); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	plain(&doc)
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return nil, fmt.Errorf("bootstrap: %w", err)
	}
	return b.Bytes(), enc.Close()
}

// plain removes JSON's braces, and its quotes where no YAML parser, old or new,
// could misread the text.
func plain(n *yaml.Node) {
	if n.Kind != yaml.ScalarNode && len(n.Content) > 0 || n.Kind == yaml.ScalarNode && isPlain(n.Value) {
		n.Style = 0
	}
	for _, c := range n.Content {
		plain(c)
	}
}

var (
	word  = regexp.MustCompile(`^([A-Za-z_/][A-Za-z0-9_./-]*|[0-9.]+s|[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)$`)
	other = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null|nan|inf|infinity)$`)
)

func isPlain(s string) bool { return word.MatchString(s) && !other.MatchString(s) }
