package xds_test

import (
	"context"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// TestAskedBeforePublish: what a stream asks before anything was published is
// answered then, all of it.
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

// TestAsksTooMuchBeforePublish: what is kept of a stream that waits is bounded.
func TestAsksTooMuchBeforePublish(t *testing.T) {
	const name = "before publish over h2" // grpc's windows bound it there
	t.Run(name, func(t *testing.T) {
		s := start(t, xds.Options{})
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		st, err := open(ctx, s.dial(t, ""), true)
		for range 10 {
			if err == nil {
				_ = st.Send(&ask{typeURL: swap.Endpoint.URL(), node: &corev3.Node{Id: "a"}, names: some("a", 10000)}) // Recv tells better why it failed
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
