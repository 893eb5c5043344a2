package bootstrap

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
)

// Service is a Wasm service, which runs as long as its Envoy. Its module comes
// from xds-server.
type Service struct {
	Name    string
	Version string              // reported to xds-server
	SHA256  string              // of its module
	Wait    bool                // the Envoy must not start without it
	Config  *wasmv3.WasmService // without its code
}

// How often an Envoy retries to fetch the module of a service, and the
// interval. By default, it retries once, within a second, and then starts
// without the service.
const (
	fetchTimeout = time.Minute
	firstRetry   = time.Second
	lastRetry    = 5 * time.Second
	fewRetries   = 12 // about half a minute, if nothing answers
	manyRetries  = 1 << 30
)

// services returns the Envoy's services as bootstrap extensions.
func (o Options) services() ([]*corev3.TypedExtensionConfig, error) {
	if len(o.Services) == 0 {
		return nil, nil
	}
	at := replicas(o.ModulesURL)[0]
	if at == "" {
		return nil, errors.New("an Envoy with services needs the URL of xds-server's modules")
	}
	var all []*corev3.TypedExtensionConfig
	named := map[string]bool{}
	for _, s := range o.Services {
		if named[s.Name] {
			return nil, fmt.Errorf("service %q is there twice", s.Name)
		}
		named[s.Name] = true
		retries := uint32(fewRetries)
		if s.Wait {
			retries = manyRetries
		}
		config := proto.CloneOf(s.Config)
		config.GetConfig().GetVmConfig().Code = &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Remote{Remote: &corev3.RemoteDataSource{
			HttpUri: &corev3.HttpUri{
				Uri:              strings.TrimSuffix(at, "/") + "/modules/" + s.SHA256 + ".wasm",
				HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: ModulesCluster},
				Timeout:          durationpb.New(fetchTimeout),
			},
			Sha256: s.SHA256,
			RetryPolicy: &corev3.RetryPolicy{
				RetryBackOff: &corev3.BackoffStrategy{BaseInterval: durationpb.New(firstRetry), MaxInterval: durationpb.New(lastRetry)},
				NumRetries:   wrapperspb.UInt32(retries),
			},
		}}}
		if err := config.ValidateAll(); err != nil {
			return nil, fmt.Errorf("service %q: %w", s.Name, err)
		}
		value, err := pack(config)
		if err != nil {
			return nil, err
		}
		all = append(all, &corev3.TypedExtensionConfig{Name: "envoy.bootstrap.wasm", TypedConfig: value})
	}
	return all, nil
}

// toldServices returns what the node's metadata reports about services.
func (o Options) toldServices() *structpb.Value {
	services := map[string]*structpb.Value{}
	for _, s := range o.Services {
		services[s.Name] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"version": structpb.NewStringValue(s.Version), "module": structpb.NewStringValue(s.SHA256),
		}})
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: services})
}
