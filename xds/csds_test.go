package xds_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// told returns a client's status, one resource a line.
func told(c *statusv3.ClientConfig) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %s\n", c.Node.Id, c.Node.Cluster)
	for _, g := range c.GenericXdsConfigs {
		t, _ := swap.TypeOf(g.TypeUrl)
		has := "has it"
		if g.VersionInfo == "" {
			has = "has none"
		}
		fmt.Fprintf(&b, "%s %s: %s %s, %s", t, shortName(g.Name), g.ConfigStatus, g.ClientStatus, has)
		if e := g.ErrorState; e != nil {
			fmt.Fprintf(&b, ": %s at %s", e.Details, e.LastUpdateAttempt.AsTime().Format("15:04:05"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func nodeID(id string) []*matcherv3.NodeMatcher {
	return []*matcherv3.NodeMatcher{{NodeId: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id}}}}
}

func TestClientStatus(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		c := newClock()
		s := start(t, xds.Options{Now: c.Now})
		s.publish(t, "listener web\nfilter hello v1 web")
		e := newEnvoy(t, "a", delta)
		e.has(moduleOf("hello", "v1"))
		e.connect(s.dial(t, ""))
		e.ready()
		client := statusv3.NewClientStatusDiscoveryServiceClient(s.dial(t, ""))
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		stream, err := client.StreamClientStatus(ctx)
		if err != nil {
			t.Fatal(err)
		}
		ask := func() string {
			t.Helper()
			r := &statusv3.ClientStatusRequest{NodeMatchers: nodeID("a")}
			if err := stream.Send(r); err != nil {
				t.Fatal(err)
			}
			answer, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			unary, err := client.FetchClientStatus(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Config) != 1 || len(unary.Config) != 1 {
				t.Fatalf("told of %d and %d nodes, want one", len(answer.Config), len(unary.Config))
			}
			return told(unary.Config[0])
		}
		synced := `a in test
CDS 127.0.0.1:9000: SYNCED ACKED, has it
CDS wasmxds-modules: SYNCED ACKED, has it
LDS primer: SYNCED ACKED, has it
LDS web: SYNCED ACKED, has it
RDS primer/gate: SYNCED ACKED, has it
RDS routes/web: SYNCED ACKED, has it
ECDS primer/hello: SYNCED ACKED, has it
ECDS web#0: SYNCED ACKED, has it
`
		eventually(t, "the gate's ACK taken", func() bool { return ask() == synced })

		s.publish(t, "listener web\nfilter hello v2 web")
		refused := strings.NewReplacer(
			"ECDS web#0: SYNCED", "ECDS web#0: NOT_SENT",
			"primer/hello: SYNCED ACKED, has it", "primer/hello: ERROR NACKED, has it: Unable to create Wasm plugin hello at 12:00:00",
		).Replace(synced)
		got := ""
		for i := 0; got != refused; i++ {
			if got = ask(); i == 2000 {
				t.Fatalf("(-want +told):\n%s", cmp.Diff(refused, got))
			}
		}
	})
}

func TestClientStatusInFlight(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		m := s.mute(t, delta)
		m.askFor(delta, swap.Cluster, "")
		m.askFor(delta, swap.Listener, "")
		client := statusv3.NewClientStatusDiscoveryServiceClient(s.dial(t, ""))
		want := `mute in 
CDS 127.0.0.1:9000: STALE REQUESTED, has none
CDS wasmxds-modules: STALE REQUESTED, has none
LDS primer: NOT_SENT REQUESTED, has none
LDS web: NOT_SENT REQUESTED, has none
`
		got := ""
		eventually(t, "told of what it has not read", func() bool {
			answer, err := client.FetchClientStatus(context.Background(), &statusv3.ClientStatusRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if len(answer.Config) == 1 {
				got = told(answer.Config[0])
			}
			return got == want
		})
	})
}

func TestNodeMatchers(t *testing.T) {
	s := start(t, xds.Options{})
	s.publish(t, hello1)
	for _, id := range []string{"edge-1", "edge-2", "core-1"} {
		s.up(t, id, true)
	}
	client := statusv3.NewClientStatusDiscoveryServiceClient(s.dial(t, ""))
	id := func(m *matcherv3.StringMatcher) *matcherv3.NodeMatcher { return &matcherv3.NodeMatcher{NodeId: m} }
	exact := func(s string) *matcherv3.NodeMatcher { return nodeID(s)[0] }
	for _, test := range []struct {
		name     string
		matchers []*matcherv3.NodeMatcher
		want     string
	}{
		{"none", nil, "core-1 edge-1 edge-2"},
		{"exact", []*matcherv3.NodeMatcher{exact("edge-2")}, "edge-2"},
		{"one of two", []*matcherv3.NodeMatcher{exact("edge-2"), exact("core-1")}, "core-1 edge-2"},
		{"nobody", []*matcherv3.NodeMatcher{exact("edge")}, ""},
		{"prefix, any case", []*matcherv3.NodeMatcher{id(&matcherv3.StringMatcher{IgnoreCase: true, MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "EDGE"}})}, "edge-1 edge-2"},
		{"suffix", []*matcherv3.NodeMatcher{id(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: "-1"}})}, "core-1 edge-1"},
		{"contains", []*matcherv3.NodeMatcher{id(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Contains{Contains: "dge"}})}, "edge-1 edge-2"},
		{"regex", []*matcherv3.NodeMatcher{id(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "edge|.*-1"}}})}, "core-1 edge-1"},
		{"a regex that is none", []*matcherv3.NodeMatcher{id(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "("}}})}, "InvalidArgument"},
		{"metadata", []*matcherv3.NodeMatcher{{NodeMetadatas: []*matcherv3.StructMatcher{{}}}}, "InvalidArgument"},
		{"nothing", []*matcherv3.NodeMatcher{{}}, "InvalidArgument"},
	} {
		answer, err := client.FetchClientStatus(context.Background(), &statusv3.ClientStatusRequest{NodeMatchers: test.matchers})
		var ids []string
		for _, c := range answer.GetConfig() {
			ids = append(ids, c.Node.Id)
		}
		if got := strings.Join(ids, " "); got != test.want && status.Code(err).String() != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
}

func TestClientStatusIsNotForAll(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{AllowStatus: func(_ context.Context, n definition.Node) error {
			if n.ID != "mine" {
				return errors.New("not yours")
			}
			return nil
		}})
		s.publish(t, hello1)
		s.up(t, "another", true)
		client := statusv3.NewClientStatusDiscoveryServiceClient(s.dial(t, ""))
		_, err := client.FetchClientStatus(context.Background(), &statusv3.ClientStatusRequest{})
		if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "not yours") {
			t.Errorf("ended with %v", err)
		}
		s.up(t, "mine", true)
		answer, err := client.FetchClientStatus(context.Background(), &statusv3.ClientStatusRequest{})
		if err != nil || len(answer.Config) != 1 || answer.Config[0].Node.Id != "mine" {
			t.Errorf("told of %v, %v; want mine alone", answer, err)
		}
	})
}

func TestTooManyStreamsOfANode(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		for range 4 { // connections, of 16 streams
			conn := s.dial(t, "")
			for range 16 {
				newEnvoy(t, "a", true).connect(conn)
			}
		}
		eventually(t, "all streams open", func() bool { return s.Stats().Streams == 64 })
		err := s.asked(t, true, []*ask{{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: "a"}}})
		if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "a node.id of its own") {
			t.Errorf("the 65th ended with %v", err)
		}
		s.up(t, "b", true) // another node
	})
}
