package xds_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestCompressed checks that no compressed message is read, for any service. The codec is
// registered, as in xds-server, where the trace exporter imports it.
func TestCompressed(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		c := s.dial(t, "", grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
		st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(c).DeltaAggregatedResources(ctx)
		if err == nil {
			_ = st.Send(&discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "a"}, TypeUrl: swap.Listener.URL()}) // Recv returns the better error
			_, err = st.Recv()
		}
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("ADS: %v", err)
		}
		// Another connection, because --transport h2 requires it.
		c = s.dial(t, "", grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
		if _, err := healthpb.NewHealthClient(c).Check(ctx, &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("health: %v", err)
		}
		csds := statusv3.NewClientStatusDiscoveryServiceClient(c)
		if _, err := csds.FetchClientStatus(ctx, &statusv3.ClientStatusRequest{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("client status: %v", err)
		}
		sts, err := csds.StreamClientStatus(ctx)
		if err == nil {
			_ = sts.Send(&statusv3.ClientStatusRequest{})
			_, err = sts.Recv()
		}
		if status.Code(err) != codes.Unimplemented {
			t.Errorf("stream of client status: %v", err)
		}
	})
}

// says sends a message of the given size, or a part of it, as far as the windows allow.
func (m *mute) says(size, part int) error {
	b := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(size)), make([]byte, part)...)
	for len(b) > 0 {
		n := min(len(b), 16<<10)
		if err := m.framer.WriteData(1, false, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// TestUnfinishedMessagesOfMany checks that the incomplete messages of all clients together
// are limited, and that others can connect meanwhile.
func TestUnfinishedMessagesOfMany(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		const clients, part = 400, 50 << 10
		var all []*mute
		for i := range clients {
			m := s.mute(t, delta)
			node := &corev3.Node{Id: fmt.Sprint("a-", i)} // a node may have only 64 streams
			if delta {
				m.ask(&discoveryv3.DeltaDiscoveryRequest{Node: node, TypeUrl: swap.Listener.URL()})
			} else {
				m.ask(&discoveryv3.DiscoveryRequest{Node: node, TypeUrl: swap.Listener.URL()})
			}
			all = append(all, m)
		}
		eventually(t, "connected", func() bool { return s.Stats().Streams == clients })
		for _, m := range all {
			_ = m.says(4<<20, part) // it may be closed already
		}
		// Half of them hold more than the limit of all. Deadlines come later.
		began := time.Now()
		eventually(t, "half of them ended", func() bool { return s.Stats().Streams < clients/2 })
		if d := time.Since(began); d > 8*time.Second {
			t.Errorf("that took %v, until their deadlines", d)
		}
		e := newEnvoy(t, "b", delta)
		e.has(moduleOf("hello", "v1"), moduleOf("other", "v1"))
		e.connect(s.dial(t, ""))
		s.settled(t, "b")
	})
}

// TestSilentConnectionsKeepNobodyOut checks that a growing number of connections that send
// one byte each keeps no Envoy out.
func TestSilentConnectionsKeepNobodyOut(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		for range 300 {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, http2.ClientPreface[:1]); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		if err := s.answers(t); err != nil {
			t.Fatal(err)
		}
		// Their deadline is 20 s.
		if d := time.Since(began); d > 10*time.Second {
			t.Errorf("an Envoy connects in %v", d)
		}
	})
}

// answers connects a new Envoy, once.
func (s *scene) answers(t *testing.T) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	st, err := open(ctx, s.dial(t, ""), true)
	if err != nil {
		return err
	}
	if err := st.Send(&ask{typeURL: swap.Listener.URL(), node: &corev3.Node{Id: "honest"}}); err != nil {
		return err
	}
	_, err = st.Recv()
	return err
}

// TestSilentConnectionsAreClosed checks that connections that never send a request are
// closed, however many there are.
func TestSilentConnectionsAreClosed(t *testing.T) {
	transports(t, func(t *testing.T) {
		before := runtime.NumGoroutine()
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		const clients = 1000 // at most 512 are held
		for range clients {
			c, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		eventually(t, "most are closed", func() bool {
			c, err := net.Dial("tcp", s.addr)
			if err == nil {
				c.Close() // each new connection makes it look
			}
			return runtime.NumGoroutine() < before+2*600
		})
		if err := s.answers(t); err != nil {
			t.Error(err)
		}
	})
}
