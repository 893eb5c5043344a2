package xds

import (
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statusv3 "github.com/envoyproxy/go-control-plane/envoy/service/status/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"wasmxds/xds/swap"
)

// csds implements the client status discovery service: which of its resources each
// connected Envoy has. It reports versions only, never contents.
//
// See envoy/service/status/v3/csds.proto.
type csds struct {
	statusv3.UnimplementedClientStatusDiscoveryServiceServer
	*Server
}

// maxConfigs is the most nodes in one response.
const maxConfigs = 1000

func (s csds) StreamClientStatus(st grpc.BidiStreamingServer[statusv3.ClientStatusRequest, statusv3.ClientStatusResponse]) error {
	for {
		r, err := st.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := s.FetchClientStatus(st.Context(), r)
		if err != nil {
			return err
		}
		if err := st.Send(answer); err != nil {
			return err
		}
	}
}

func (s csds) FetchClientStatus(ctx context.Context, r *statusv3.ClientStatusRequest) (*statusv3.ClientStatusResponse, error) {
	match, err := nodeMatcher(r.NodeMatchers)
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "node_matchers: %v", err)
	}
	clients := slices.DeleteFunc(s.newest(), func(c *client) bool { return !match(c.node.ID) })
	clients, err = s.shown(ctx, clients)
	if err != nil {
		return nil, err
	}
	if len(clients) > maxConfigs {
		return nil, status.Errorf(codes.ResourceExhausted, "%d nodes match, and no more than %d are told of at once: ask with node_matchers", len(clients), maxConfigs)
	}
	answer := &statusv3.ClientStatusResponse{}
	for _, c := range clients {
		answer.Config = append(answer.Config, c.config())
	}
	return answer, nil
}

// newest returns the newest stream of each node, by node ID.
func (s *Server) newest() []*client {
	s.mu.Lock()
	defer s.mu.Unlock()
	clients := make([]*client, 0, len(s.nodes))
	for _, rec := range s.nodes {
		clients = append(clients, rec.newest())
	}
	slices.SortFunc(clients, func(a, b *client) int { return strings.Compare(a.node.ID, b.node.ID) })
	return clients
}

// shown returns those of clients whose status the caller may see. If it may see none of
// them, shown returns an error.
func (s *Server) shown(ctx context.Context, clients []*client) ([]*client, error) {
	if s.allowStatus == nil {
		return clients, nil
	}
	var refused error
	shown := slices.DeleteFunc(clients, func(c *client) bool {
		err := s.allowStatus(ctx, c.node)
		if err != nil {
			refused = err
		}
		return err != nil
	})
	if len(shown) == 0 && refused != nil {
		return nil, denied(refused)
	}
	return shown, nil
}

// nodeMatcher combines matchers, at least one of which must match. Without matchers, all
// nodes match.
func nodeMatcher(matchers []*matcherv3.NodeMatcher) (func(id string) bool, error) {
	var ids []func(string) bool
	for _, m := range matchers {
		if len(m.NodeMetadatas) > 0 {
			return nil, errors.New("node_metadatas are not looked at: match by node_id")
		}
		is, err := stringMatcher(m.NodeId)
		if err != nil {
			return nil, err
		}
		ids = append(ids, is)
	}
	return func(id string) bool {
		return len(ids) == 0 || slices.ContainsFunc(ids, func(is func(string) bool) bool { return is(id) })
	}, nil
}

func stringMatcher(m *matcherv3.StringMatcher) (func(string) bool, error) {
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	by := func(is func(s, pattern string) bool, pattern string) (func(string) bool, error) {
		return func(s string) bool { return is(fold(s), fold(pattern)) }, nil
	}
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return by(func(s, exact string) bool { return s == exact }, p.Exact)
	case *matcherv3.StringMatcher_Prefix:
		return by(strings.HasPrefix, p.Prefix)
	case *matcherv3.StringMatcher_Suffix:
		return by(strings.HasSuffix, p.Suffix)
	case *matcherv3.StringMatcher_Contains:
		return by(strings.Contains, p.Contains)
	case *matcherv3.StringMatcher_SafeRegex:
		re, err := regexp.Compile("^(?:" + p.SafeRegex.GetRegex() + ")$")
		if err != nil {
			return nil, err
		}
		return re.MatchString, nil
	}
	return nil, errors.New("node_id has no exact, prefix, suffix, contains or safe_regex")
}

// config returns the configuration status of c's Envoy.
func (c *client) config() *statusv3.ClientConfig {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &statusv3.ClientConfig{Node: &corev3.Node{Id: c.node.ID, Cluster: c.node.Cluster}}
	for _, r := range c.machine.Resources() {
		g := &statusv3.ClientConfig_GenericXdsConfig{
			TypeUrl: r.Type.URL(), Name: r.Name, VersionInfo: r.Has,
			ConfigStatus: configStatus(&r), ClientStatus: clientStatus(&r),
		}
		if r.Refused {
			g.ErrorState = &adminv3.UpdateFailureState{Details: r.Message, VersionInfo: r.Wanted}
			if at := c.lastNACK(r.Type); at != nil {
				g.ErrorState.LastUpdateAttempt = timestamppb.New(at.At)
			}
		}
		out.GenericXdsConfigs = append(out.GenericXdsConfigs, g)
	}
	return out
}

// lastNACK returns the newest NACK of a type, or nil if none is kept. The caller holds
// c.mu.
func (c *client) lastNACK(t swap.Type) *NACK {
	for i := range slices.Backward(c.nacks) {
		if c.nacks[i].Type == t.URL() {
			return &c.nacks[i]
		}
	}
	return nil
}

// configStatus returns the status from the server's point of view.
func configStatus(r *swap.ResourceStatus) statusv3.ConfigStatus {
	switch {
	case r.Sent:
		return statusv3.ConfigStatus_STALE
	case r.Refused:
		return statusv3.ConfigStatus_ERROR
	case r.Has != "" && r.Has == r.Wanted:
		return statusv3.ConfigStatus_SYNCED
	}
	return statusv3.ConfigStatus_NOT_SENT
}

// clientStatus returns the status from the Envoy's point of view.
func clientStatus(r *swap.ResourceStatus) adminv3.ClientResourceStatus {
	switch {
	case r.Refused:
		return adminv3.ClientResourceStatus_NACKED
	case r.Has != "":
		return adminv3.ClientResourceStatus_ACKED
	}
	return adminv3.ClientResourceStatus_REQUESTED
}
