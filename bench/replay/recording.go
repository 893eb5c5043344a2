// Package replay measures what an exchange costs by itself: it records what an xds-server
// sends to one fresh Envoy, and sends the same bytes, at the same points, to every Envoy that
// connects. It keeps no state but counters, and looks at nothing that Envoys say.
//
// What it costs is what grpc-go and net/http cost for that exchange, so no server on them
// that says the same can be much cheaper. Start with [NewRecorder], and [New].
package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
)

// Recording is what an Envoy was sent from its first request on.
type Recording struct {
	Delta     bool
	Address   string            // host:port of the modules, in Responses
	Modules   map[string][]byte // by the path of their URL
	Responses []Response
}

// Response is sent once so many requests and downloads were made.
type Response struct {
	Requests, Downloads int
	Body                []byte
}

// Write writes the recording to a file.
func (r *Recording) Write(file string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode a recording: %w", err)
	}
	return os.WriteFile(file, b, 0o644)
}

// Read reads what Write wrote.
func Read(file string) (*Recording, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r Recording
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &r, nil
}

// moved returns the responses with another address of the modules. It has the same length,
// because the messages say how long each part is.
func (r *Recording) moved(to string) ([]Response, error) {
	if len(to) != len(r.Address) {
		return nil, fmt.Errorf("%s is not as long as %s, the address that was recorded", to, r.Address)
	}
	all := make([]Response, len(r.Responses))
	for i, one := range r.Responses {
		one.Body = bytes.ReplaceAll(one.Body, []byte(r.Address), []byte(to))
		all[i] = one
	}
	return all, nil
}

const service = "envoy.service.discovery.v3.AggregatedDiscoveryService"

// method returns the name of the stream that the recording is of.
func method(delta bool) string {
	if delta {
		return "DeltaAggregatedResources"
	}
	return "StreamAggregatedResources"
}

// serve serves the stream with g on ads, and downloads on modules, until ctx is done.
func serve(ctx context.Context, g *grpc.Server, delta bool, ads, modules net.Listener, stream func(grpc.ServerStream) error, download http.HandlerFunc) error {
	g.RegisterService(&grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
		{StreamName: method(delta), ServerStreams: true, ClientStreams: true, Handler: func(_ any, st grpc.ServerStream) error { return stream(st) }},
	}}, nil)
	h := &http.Server{Handler: download, ReadHeaderTimeout: time.Minute}
	var both errgroup.Group
	both.Go(func() error { return g.Serve(ads) })
	both.Go(func() error {
		if err := h.Serve(modules); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	defer context.AfterFunc(ctx, func() { g.Stop(); h.Close() })()
	return both.Wait()
}

// send sends a module whole.
func send(w http.ResponseWriter, b []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.Header().Set("Content-Type", "application/wasm")
	_, _ = w.Write(b)
	_ = http.NewResponseController(w).Flush()
}

// raw passes messages as bytes. A *skipped message is not looked at.
type raw struct{ encoding.CodecV2 }

type skipped struct{}

func newRaw() raw { return raw{encoding.GetCodecV2(proto.Name)} }

func (r raw) Marshal(v any) (mem.BufferSlice, error) {
	if b, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(b)}, nil
	}
	return r.CodecV2.Marshal(v)
}

func (r raw) Unmarshal(data mem.BufferSlice, v any) error {
	switch to := v.(type) {
	case *[]byte:
		*to = data.Materialize()
		return nil
	case *skipped:
		return nil
	}
	return r.CodecV2.Unmarshal(data, v)
}
