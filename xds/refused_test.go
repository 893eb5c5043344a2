package xds_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// TestNACKMakesNoLoop counts the pushes after a NACK, while the clock stands still and when
// it advances.
func TestNACKMakesNoLoop(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		s := start(t, xds.Options{Now: c.Now})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		s.publish(t, hello2)
		const refused = "ECDS primer/hello: Unable to create Wasm plugin hello"
		e.expect(refused)
		nacks := func(want int) {
			t.Helper()
			eventually(t, fmt.Sprintf("%d NACKs in the status", want), func() bool {
				n, _ := s.node("a")
				return len(n.NACKs) == 1 && max(n.NACKs[0].Times, 1) == want
			})
		}
		nacks(1)
		n, _ := s.node("a")
		if got, want := n.NACKs[0], (xds.NACK{Type: swap.Extension.URL(), Message: "Unable to create Wasm plugin hello", At: c.Now(), Fetching: true}); got != want {
			t.Errorf("the NACK is told as %+v, want %+v", got, want)
		}
		for i := range 3 {
			// For longer than the first back-offs: with the clock stopped, nothing.
			select {
			case line := <-e.events:
				t.Fatalf("sent %q again at once", line)
			case <-time.After(400 * time.Millisecond):
			}
			c.advance(3 * time.Second)
			e.expect(refused)
			nacks(i + 2)
		}
		e.has(moduleOf("hello", "v2"))
		c.advance(20 * time.Second)
		e.expect("ECDS primer/hello", "ECDS web#0=hello") // the same stream
		s.settled(t, "a")
	})
}

func TestUnknownType(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		e := s.up(t, "a", delta)
		before := s.Stats().Requests
		e.send(&ask{typeURL: "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration", names: []string{"scoped"}})
		e.send(&ask{typeURL: "type.googleapis.com/envoy.config.route.v3.ScopedRouteConfiguration", names: []string{"scoped"}, nonce: "1"})
		e.send(&ask{})
		eventually(t, "all three taken", func() bool { return s.Stats().Requests >= before+3 })
		e.has(moduleOf("hello", "v2"))
		s.publish(t, hello2)
		e.expect("ECDS primer/hello", "ECDS web#0=hello")
	})
}

func TestRefusedStreams(t *testing.T) {
	deny := func(_ context.Context, n definition.Node) error {
		if n.ID == "mallory" {
			return errors.New("the certificate is alice's, not mallory's")
		}
		return nil
	}
	node := func(id string) *ask {
		return &ask{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: id}}
	}
	for _, test := range []struct {
		name    string
		asks    []*ask
		code    codes.Code
		message string
	}{
		{"no node", []*ask{{typeURL: swap.Cluster.URL()}}, codes.InvalidArgument, "set node.id in the bootstrap"},
		{"no node id", []*ask{node("")}, codes.InvalidArgument, "set node.id in the bootstrap"},
		{"not allowed", []*ask{node("mallory")}, codes.PermissionDenied, "the certificate is alice's, not mallory's"},
		{"another node later", []*ask{node("alice"), node("bob")}, codes.InvalidArgument, `this stream is node "alice", a request of it names "bob"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			both(t, func(t *testing.T, delta bool) {
				s := start(t, xds.Options{Allow: deny})
				s.publish(t, hello1)
				err := s.asked(t, delta, test.asks)
				if status.Code(err) != test.code || !strings.Contains(err.Error(), test.message) {
					t.Errorf("ended with %v, want %v: %s", err, test.code, test.message)
				}
				eventually(t, "without streams", func() bool { return s.Stats().Streams == 0 })
			})
		})
	}
}

// asked sends all requests on a new stream, and returns the error that it ends with.
func (s *scene) asked(t *testing.T, delta bool, asks []*ask) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	st, err := open(ctx, s.dial(t, ""), delta)
	for _, a := range asks {
		if err == nil {
			_ = st.Send(a) // Recv returns the better error
		}
	}
	for err == nil {
		_, err = st.Recv()
	}
	return err
}
