package xds_test

import (
	"context"
	"encoding/binary"
	"strconv"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestAskedBeforePublish checks that all requests of a stream from before the first
// publication are answered after it.
func TestAskedBeforePublish(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		st, err := open(ctx, s.dial(t, ""), delta)
		if err != nil {
			t.Fatal(err)
		}
		for i, typ := range []swap.Type{swap.Cluster, swap.Listener} {
			a := &ask{typeURL: typ.URL()}
			if i == 0 {
				a.node = &corev3.Node{Id: "a"}
			}
			if err := st.Send(a); err != nil {
				t.Fatal(err)
			}
		}
		if _, ok := s.node("a"); ok || s.Stats().Requests > 0 {
			t.Error("answered with nothing published")
		}
		s.publish(t, hello1)
		r, err := st.Recv()
		if err != nil || r.typeURL != swap.Cluster.URL() {
			t.Fatalf("answered with %+v, %v", r, err)
		}
		if err := st.Send(&ask{typeURL: r.typeURL, nonce: r.nonce, version: r.version}); err != nil {
			t.Fatal(err)
		}
		if r, err = st.Recv(); err != nil || r.typeURL != swap.Listener.URL() {
			t.Fatalf("answered with %+v, %v", r, err)
		}
	})
}

// TestAsksTooMuchBeforePublish checks that what is kept of a waiting stream is limited.
func TestAsksTooMuchBeforePublish(t *testing.T) {
	const name = "before publish over h2" // grpc's windows limit it there
	t.Run(name, func(t *testing.T) {
		s := start(t, xds.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		st, err := open(ctx, s.dial(t, ""), true)
		for range 10 {
			if err == nil {
				_ = st.Send(&ask{typeURL: swap.Endpoint.URL(), node: &corev3.Node{Id: "a"}, names: some("a", 10000)}) // Recv returns the better error
			}
		}
		if err == nil {
			_, err = st.Recv()
		}
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestRefusedMessageEndsClient checks that nothing remains of a stream that ends because
// its transport rejects a message: 64 of them would lock the node out.
func TestRefusedMessageEndsClient(t *testing.T) {
	prefix := func(flag byte, size uint32) []byte { return binary.BigEndian.AppendUint32([]byte{flag}, size) }
	for name, refused := range map[string][]byte{
		"compressed":     append(prefix(1, 1), 'z'),
		"strange kind":   prefix(7, 0),
		"too large":      prefix(0, 4<<20+1),
		"not a protobuf": append(prefix(0, 1), 0xff),
	} {
		transports(t, func(t *testing.T) {
			t.Run(name, func(t *testing.T) {
				s := start(t, xds.Options{})
				s.publish(t, hello1)
				for i := range 65 {
					m := s.mute(t, true)
					m.ask(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: swap.Listener.URL(), Node: &corev3.Node{Id: "a"}})
					eventually(t, "connected "+strconv.Itoa(i), func() bool { _, ok := s.node("a"); return ok })
					m.must(m.framer.WriteData(1, false, refused))
					eventually(t, "gone", func() bool { n, _ := s.node("a"); return !n.AwaySince.IsZero() && s.Stats().Streams == 0 })
					m.conn.Close()
					<-m.ended
				}
			})
		})
	}
}
