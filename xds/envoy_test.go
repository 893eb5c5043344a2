package xds_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"

	"wasmxds/resource"
	"wasmxds/xds/swap"
)

func plaintext() credentials.TransportCredentials { return insecure.NewCredentials() }

// envoy behaves like an Envoy on its ADS stream: it subscribes to what resources name, and
// rejects a filter until it has its module.
type envoy struct {
	t     testing.TB
	id    string
	delta bool
	tells bool             // it subscribes to the runtime layer with the sampling rate
	meta  *structpb.Struct // of its node; nil: none

	mu      sync.Mutex
	modules map[string]bool // by SHA-256
	refuse  func(t swap.Type, name string) string

	have    [swap.Types]map[string]string // name → version of the resource
	version [swap.Types]string            // version_info
	names   [swap.Types][]string
	asked   [swap.Types]bool
	nonce   [swap.Types]string

	stream stream
	cancel context.CancelFunc
	events chan string // what it was sent, one resource a line, and how it answered
	ended  chan error  // the stream's end
}

// stream is an ADS stream of either protocol.
type stream interface {
	Send(*ask) error
	Recv() (*answer, error)
}

// ask is a request of either protocol.
type ask struct {
	node      *corev3.Node
	typeURL   string
	nonce     string
	err       *statuspb.Status
	version   string            // state of the world
	names     []string          // all names, or the new ones
	gone      []string          // delta
	initially map[string]string // delta
}

// answer is a response of either protocol.
type answer struct {
	typeURL, nonce, version string
	resources               map[string]*anypb.Any
	versions                map[string]string // delta
	removed                 []string
}

type sotw struct {
	discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
}

func (s sotw) Send(a *ask) error {
	return s.AggregatedDiscoveryService_StreamAggregatedResourcesClient.Send(&discoveryv3.DiscoveryRequest{
		Node: a.node, TypeUrl: a.typeURL, ResponseNonce: a.nonce, ErrorDetail: a.err, VersionInfo: a.version, ResourceNames: a.names,
	})
}

func (s sotw) Recv() (*answer, error) {
	r, err := s.AggregatedDiscoveryService_StreamAggregatedResourcesClient.Recv()
	if err != nil {
		return nil, err
	}
	out := &answer{typeURL: r.TypeUrl, nonce: r.Nonce, version: r.VersionInfo, resources: map[string]*anypb.Any{}}
	for _, res := range r.Resources {
		out.resources[nameOf(res)] = res
	}
	return out, nil
}

type delta struct {
	discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesClient
}

func (s delta) Send(a *ask) error {
	return s.AggregatedDiscoveryService_DeltaAggregatedResourcesClient.Send(&discoveryv3.DeltaDiscoveryRequest{
		Node: a.node, TypeUrl: a.typeURL, ResponseNonce: a.nonce, ErrorDetail: a.err,
		ResourceNamesSubscribe: a.names, ResourceNamesUnsubscribe: a.gone, InitialResourceVersions: a.initially,
	})
}

func (s delta) Recv() (*answer, error) {
	r, err := s.AggregatedDiscoveryService_DeltaAggregatedResourcesClient.Recv()
	if err != nil {
		return nil, err
	}
	out := &answer{typeURL: r.TypeUrl, nonce: r.Nonce, version: r.SystemVersionInfo,
		resources: map[string]*anypb.Any{}, versions: map[string]string{}, removed: r.RemovedResources}
	for _, res := range r.Resources {
		out.resources[res.Name], out.versions[res.Name] = res.Resource, res.Version
	}
	return out, nil
}

// open opens a stream.
func open(ctx context.Context, conn grpc.ClientConnInterface, isDelta bool) (stream, error) {
	ads := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
	if isDelta {
		s, err := ads.DeltaAggregatedResources(ctx)
		return delta{s}, err
	}
	s, err := ads.StreamAggregatedResources(ctx)
	return sotw{s}, err
}

// newEnvoy returns an Envoy that has nothing yet; see connect.
func newEnvoy(t testing.TB, id string, isDelta bool) *envoy {
	e := &envoy{t: t, id: id, delta: isDelta, modules: map[string]bool{}}
	for i := range e.have {
		e.have[i] = map[string]string{}
	}
	return e
}

// connect opens a stream on conn, and answers on it until it ends.
func (e *envoy) connect(conn grpc.ClientConnInterface) {
	e.t.Helper()
	var ctx context.Context
	ctx, e.cancel = context.WithCancel(context.Background())
	var err error
	if e.stream, err = open(ctx, conn, e.delta); err != nil {
		e.t.Fatal(err)
	}
	before := e.names // also subscriptions without an answer
	e.names, e.asked, e.nonce = [swap.Types][]string{}, [swap.Types]bool{}, [swap.Types]string{}
	e.events, e.ended = make(chan string, 1000), make(chan error, 1)
	if e.tells {
		e.subscribe(swap.Runtime, []string{resource.RuntimeLayer})
	}
	e.subscribe(swap.Cluster, nil)
	if len(e.have[swap.Cluster]) > 0 { // it was connected before
		e.subscribe(swap.Listener, nil)
		for _, t := range []swap.Type{swap.Route, swap.Extension} {
			names := slices.AppendSeq(slices.Clone(before[t]), maps.Keys(e.have[t]))
			slices.Sort(names)
			e.subscribe(t, slices.Compact(names))
		}
	}
	running, ended := e.stream, e.ended
	go func() {
		for {
			r, err := running.Recv()
			if err != nil {
				ended <- err
				return
			}
			e.answer(r)
		}
	}()
	e.t.Cleanup(func() { e.leave() })
}

// leave ends the stream; the Envoy keeps what it has.
func (e *envoy) leave() error {
	e.cancel()
	select {
	case err := <-e.ended:
		e.ended <- err
		return err
	case <-time.After(within):
		e.t.Fatal("the stream does not end")
		return nil
	}
}

func (e *envoy) send(a *ask) {
	// Recv notices the end of a stream.
	_ = e.stream.Send(a)
}

// subscribe subscribes to a type, or to other names of it.
func (e *envoy) subscribe(t swap.Type, names []string) {
	a := &ask{typeURL: t.URL(), names: names, nonce: e.nonce[t], version: e.version[t]}
	if !e.asked[t] {
		a.initially = e.have[t]
	} else if slices.Equal(names, e.names[t]) {
		return
	} else if e.delta {
		a.nonce, a.names = "", nil
		for _, n := range names {
			if !slices.Contains(e.names[t], n) {
				a.names = append(a.names, n)
			}
		}
		for _, n := range e.names[t] {
			if !slices.Contains(names, n) {
				a.gone = append(a.gone, n)
				delete(e.have[t], n)
			}
		}
	}
	if !slices.Contains(e.asked[:], true) {
		a.node = &corev3.Node{Id: e.id, Cluster: "test", UserAgentName: "envoy", Metadata: e.meta}
	}
	e.asked[t], e.names[t] = true, names
	e.send(a)
}

// answer applies a response as far as possible, and ACKs or NACKs it.
func (e *envoy) answer(r *answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, _ := swap.TypeOf(r.typeURL)
	e.nonce[t] = r.nonce
	names := slices.Sorted(maps.Keys(r.resources))
	line := t.String()
	for _, n := range names {
		line += " " + toldAs(n, r.resources[n])
	}
	for _, n := range r.removed {
		line += " -" + n
	}
	var refused string
	for _, n := range names {
		refused = max(refused, e.load(t, n, r.resources[n]))
	}
	a := &ask{typeURL: r.typeURL, nonce: r.nonce}
	if refused == "" {
		e.version[t] = r.version
		e.take(t, r)
	} else {
		a.err = &statuspb.Status{Code: 13, Message: refused}
		line += ": " + refused
	}
	if !e.delta {
		a.version, a.names = e.version[t], e.names[t]
	}
	e.send(a)
	e.events <- strings.TrimSpace(line)
	if refused == "" {
		e.follow(t, r)
	}
}

// toldAs returns the line for a resource: its shortName, and for a listener's own slot also
// the content, as in "web#0=hello".
func toldAs(name string, res *anypb.Any) string {
	if _, _, own := resource.SlotOf(name); own {
		return shortName(name) + "=" + pluginIn(res)
	}
	return shortName(name)
}

// shortName returns a resource's name without the hash of its listener's layout: "web#0" is
// a slot, "routes/web" the routes.
func shortName(name string) string {
	if listener, id, own := resource.SlotOf(name); own {
		_, number, _ := strings.Cut(name, "/"+id+"/")
		return listener + "#" + number
	}
	if listener, _, native := resource.RoutesOf(name); native {
		return resource.RoutesPrefix + listener
	}
	return name
}

// pluginIn returns the name of the plugin in a slot's content.
func pluginIn(res *anypb.Any) string {
	var typed corev3.TypedExtensionConfig
	var wasm wasmv3.Wasm
	must(res.UnmarshalTo(&typed))
	if typed.TypedConfig.UnmarshalTo(&wasm) != nil {
		return "nothing"
	}
	return wasm.GetConfig().GetName()
}

// take stores what was accepted.
func (e *envoy) take(t swap.Type, r *answer) {
	if !e.delta && (t == swap.Cluster || t == swap.Listener) {
		e.have[t] = map[string]string{}
	}
	for n := range r.resources {
		e.have[t][n] = r.versions[n]
	}
	for _, n := range r.removed {
		delete(e.have[t], n)
	}
}

// follow subscribes to what an accepted resource names.
func (e *envoy) follow(t swap.Type, r *answer) {
	switch t {
	case swap.Cluster:
		e.subscribe(swap.Listener, nil)
	case swap.Listener:
		routes, slots := slices.Clone(e.names[swap.Route]), slices.Clone(e.names[swap.Extension])
		for _, res := range r.resources {
			more, extensions := references(res)
			routes, slots = append(routes, more...), append(slots, extensions...)
		}
		slices.Sort(routes)
		slices.Sort(slots)
		e.subscribe(swap.Route, slices.Compact(routes))
		e.subscribe(swap.Extension, slices.Compact(slots))
	}
}

// load returns why a resource is rejected, or "".
func (e *envoy) load(t swap.Type, name string, res *anypb.Any) string {
	if e.refuse != nil {
		if why := e.refuse(t, name); why != "" {
			return why
		}
	}
	if t != swap.Extension {
		return ""
	}
	var typed corev3.TypedExtensionConfig
	var wasm wasmv3.Wasm
	must(res.UnmarshalTo(&typed))
	if typed.TypedConfig.UnmarshalTo(&wasm) != nil {
		return "" // a placeholder
	}
	if sha := wasm.GetConfig().GetVmConfig().GetCode().GetRemote().GetSha256(); !e.modules[sha] {
		return "Unable to create Wasm plugin " + strings.TrimPrefix(name, "primer/")
	}
	return ""
}

// has puts modules into the Envoy's cache.
func (e *envoy) has(sha256 ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range sha256 {
		e.modules[s] = true
	}
}

// next returns the next line of what was sent.
func (e *envoy) next() string {
	e.t.Helper()
	select {
	case line := <-e.events:
		return line
	case err := <-e.ended:
		e.ended <- err
		e.t.Fatalf("%s: the stream ended: %v", e.id, err)
	case <-time.After(within):
		e.t.Fatalf("%s: nothing was sent for %v", e.id, within)
	}
	return ""
}

// ready waits for the last resource that a new Envoy is sent.
func (e *envoy) ready() {
	e.t.Helper()
	for !strings.HasPrefix(e.next(), "RDS primer/gate") {
	}
}

// expect compares the next lines with want.
func (e *envoy) expect(want ...string) {
	e.t.Helper()
	for _, w := range want {
		if got := e.next(); got != w {
			e.t.Fatalf("%s was sent %q, want %q", e.id, got, w)
		}
	}
}

// references returns the route configurations and extensions that a listener names.
func references(listener *anypb.Any) (routes, extensions []string) {
	var l listenerv3.Listener
	must(listener.UnmarshalTo(&l))
	for _, c := range l.FilterChains {
		for _, f := range c.Filters {
			if f.GetConfigDiscovery() != nil {
				extensions = append(extensions, f.Name)
			}
			var hcm hcmv3.HttpConnectionManager
			if !f.GetTypedConfig().MessageIs(&hcm) {
				continue
			}
			must(f.GetTypedConfig().UnmarshalTo(&hcm))
			if n := hcm.GetRds().GetRouteConfigName(); n != "" {
				routes = append(routes, n)
			}
			for _, h := range hcm.HttpFilters {
				if h.GetConfigDiscovery() != nil {
					extensions = append(extensions, h.Name)
				}
			}
		}
	}
	return routes, extensions
}

// nameOf returns a resource's name.
func nameOf(res *anypb.Any) string {
	m, err := res.UnmarshalNew()
	must(err)
	f := m.ProtoReflect().Descriptor().Fields()
	for _, field := range []string{"name", "cluster_name"} {
		if d := f.ByName(protoreflect.Name(field)); d != nil {
			return m.ProtoReflect().Get(d).String()
		}
	}
	panic(fmt.Sprintf("%s has no name", proto.MessageName(m)))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
