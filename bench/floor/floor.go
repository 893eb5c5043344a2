// Package floor is an ADS server that does nothing it could leave out: it
// keeps no state of its clients and sends the same bytes to all of them. What
// it costs is what grpc-go costs, set up as package xds does it, so no server on
// grpc-go can be much cheaper.
//
// Start with [Server]. It answers the first request of each type on a stream
// with all resources of the type, and Set sends what changed to every stream.
package floor

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	protobuf "google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"

	"wasmxds/bench/naive"
	"wasmxds/xds/transport"
)

// Server is safe for concurrent use.
type Server struct {
	options []grpc.ServerOption

	mu      sync.Mutex
	streams map[*stream]struct{}
	all     [2]map[string][]byte // by protocol and type URL
}

type stream struct {
	mu   sync.Mutex
	grpc grpc.ServerStream
	kind int
}

const (
	sotw = iota
	delta
)

// New returns a server that has nothing yet.
func New(options ...grpc.ServerOption) *Server {
	return &Server{options: options, streams: map[*stream]struct{}{}}
}

// Serve answers on l until ctx is done.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := transport.NewGRPC(nil, append(s.options, grpc.ForceServerCodecV2(raw{encoding.GetCodecV2(proto.Name)}))...)
	handle := func(kind int) grpc.StreamHandler {
		return func(_ any, st grpc.ServerStream) error { return s.serve(&stream{grpc: st, kind: kind}) }
	}
	g.RegisterService(&grpc.ServiceDesc{
		ServiceName: "envoy.service.discovery.v3.AggregatedDiscoveryService",
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			{StreamName: "StreamAggregatedResources", ServerStreams: true, ClientStreams: true, Handler: handle(sotw)},
			{StreamName: "DeltaAggregatedResources", ServerStreams: true, ClientStreams: true, Handler: handle(delta)},
		},
	}, nil)
	stop := context.AfterFunc(ctx, g.Stop)
	defer stop()
	return g.Serve(l)
}

func (s *Server) serve(st *stream) error {
	s.mu.Lock()
	s.streams[st] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, st)
		s.mu.Unlock()
	}()
	answered := map[string]bool{}
	for {
		var url typeOf
		url.delta = st.kind == delta
		if err := st.grpc.RecvMsg(&url); err != nil {
			return nil // the client is gone
		}
		s.mu.Lock()
		body, ok := s.all[st.kind][url.url]
		s.mu.Unlock()
		if answered[url.url] || !ok {
			continue
		}
		answered[url.url] = true
		if err := st.send(body); err != nil {
			return err
		}
	}
}

func (st *stream) send(body []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.grpc.SendMsg(body)
}

// Set makes all of r what new streams get, and sends the extension
// configurations named to those that are open.
func (s *Server) Set(version int, r naive.Resources, changed []string) error {
	var update [2][]byte
	all := [2]map[string][]byte{{}, {}}
	for url, list := range r {
		for kind := range all {
			body, err := encode(kind, version, url, list)
			if err != nil {
				return err
			}
			all[kind][url] = body
		}
	}
	var list []types.Resource
	for _, res := range r[resourcev3.ExtensionConfigType] {
		for _, name := range changed {
			if cachev3.GetResourceName(res) == name {
				list = append(list, res)
			}
		}
	}
	for kind := range update {
		var err error
		if update[kind], err = encode(kind, version, resourcev3.ExtensionConfigType, list); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.all = all
	streams := make([]*stream, 0, len(s.streams))
	for st := range s.streams {
		streams = append(streams, st)
	}
	s.mu.Unlock()
	if len(changed) == 0 {
		return nil
	}
	for _, st := range streams {
		_ = st.send(update[st.kind]) // a client that is gone is told of elsewhere
	}
	return nil
}

func encode(kind, version int, url string, list []types.Resource) ([]byte, error) {
	v := strconv.Itoa(version)
	var anys []*anypb.Any
	var resources []*discoveryv3.Resource
	for _, res := range list {
		a, err := anypb.New(res)
		if err != nil {
			return nil, fmt.Errorf("encode a resource: %w", err)
		}
		a.TypeUrl = url
		anys = append(anys, a)
		resources = append(resources, &discoveryv3.Resource{Name: cachev3.GetResourceName(res), Version: v, Resource: a})
	}
	if kind == delta {
		return protobuf.Marshal(&discoveryv3.DeltaDiscoveryResponse{
			SystemVersionInfo: v, Resources: resources, TypeUrl: url, Nonce: v})
	}
	return protobuf.Marshal(&discoveryv3.DiscoveryResponse{VersionInfo: v, Resources: anys, TypeUrl: url, Nonce: v})
}

// typeOf is what is read of a request.
type typeOf struct {
	delta bool
	url   string
}

// raw sends bytes as they are, and reads of requests only the type.
type raw struct{ encoding.CodecV2 }

func (r raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return r.CodecV2.Marshal(v)
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (r raw) Unmarshal(data mem.BufferSlice, v any) error {
	url, ok := v.(*typeOf)
	if !ok {
		return r.CodecV2.Unmarshal(data, v)
	}
	return url.read(data.Materialize())
}
