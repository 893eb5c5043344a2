package xds_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
	"wasmxds/printable"
	"wasmxds/xds"
	"wasmxds/xds/swap"
)

// some returns n names that begin with prefix.
func some(prefix string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return names
}

func TestTooManyNames(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		for name, names := range map[string][]string{
			"more than 16384 names": some("a", 16<<10+1),
			"more than 4096":        {strings.Repeat("a", 4<<10+1)},
		} {
			err := s.asked(t, delta, []*ask{{typeURL: swap.Endpoint.URL(), node: &corev3.Node{Id: "a"}, names: names}})
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("ended with %v, want one that says %s", err, name)
			}
		}
	})
}

// TestTooManyNamesInAll checks that the limit of names applies to the sum of delta
// requests.
func TestTooManyNamesInAll(t *testing.T) {
	transports(t, func(t *testing.T) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		err := s.asked(t, true, []*ask{
			{typeURL: swap.Endpoint.URL(), node: &corev3.Node{Id: "a"}, names: some("a", 10000)},
			{typeURL: swap.Endpoint.URL(), names: some("b", 10000)},
		})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestLargeRequest checks that a request above 4 MiB isn't read.
func TestLargeRequest(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		err := s.asked(t, delta, []*ask{{typeURL: strings.Repeat("a", 4<<20), node: &corev3.Node{Id: "a"}}})
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("ended with %v", err)
		}
	})
}

// TestLargeMetadata checks that the headers of a stream have a limit, too.
func TestLargeMetadata(t *testing.T) {
	both(t, func(t *testing.T, delta bool) {
		s := start(t, xds.Options{})
		s.publish(t, hello1)
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		for size, within := range map[int]bool{8 << 10: true, 20 << 10: false} {
			ctx, end := context.WithCancel(metadata.AppendToOutgoingContext(ctx, "x-large", strings.Repeat("a", size)))
			st, err := open(ctx, s.dial(t, ""), delta)
			if err == nil {
				_ = st.Send(&ask{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: "a"}}) // Recv returns the better error
				_, err = st.Recv()
			}
			if within != (err == nil) || status.Code(err) == codes.DeadlineExceeded {
				t.Errorf("%d bytes: %v", size, err)
			}
			end()
		}
	})
}

// TestRefusalsAreLoggedOnce checks that a rejected client that keeps reconnecting is logged
// only once in a while.
func TestRefusalsAreLoggedOnce(t *testing.T) {
	c := newClock()
	var log lines
	s := start(t, xds.Options{
		Now: c.Now, Log: slog.New(slog.NewTextHandler(&log, nil)),
		Allow: func(context.Context, definition.Node) error { return errors.New("not you") },
	})
	s.publish(t, hello1)
	try := func(node string) {
		t.Helper()
		if err := s.asked(t, true, []*ask{{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: node}}}); status.Code(err) != codes.PermissionDenied {
			t.Fatalf("ended with %v", err)
		}
	}
	for range 5 {
		try("mallory")
	}
	try("eve")
	if n := log.count("refused a node"); n != 2 {
		t.Errorf("%d lines, want 2", n)
	}
	c.advance(2 * time.Minute)
	try("mallory")
	if n := log.count("refused a node"); n != 3 || log.count("refused more nodes, and some again\" times=4") != 1 {
		t.Errorf("%d lines of nodes, want 3, and one of 4 more:\n%s", n, log.text())
	}
}

// TestTurnedAway checks that clients that get no stream are listed for an hour, each once,
// up to a limit.
func TestTurnedAway(t *testing.T) {
	c := newClock()
	s := start(t, xds.Options{Now: c.Now, Allow: func(_ context.Context, n definition.Node) error { return errors.New("not you") }})
	s.publish(t, hello1)
	try := func(node string) {
		t.Helper()
		if err := s.asked(t, true, []*ask{{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: node}}}); status.Code(err) != codes.PermissionDenied {
			t.Fatalf("ended with %v", err)
		}
	}
	began := c.Now()
	before := s.Generation()
	try("mallory")
	c.advance(time.Minute)
	try("eve")
	s.HandshakeFailed("192.0.2.1:1234", errors.New("tls: no"))
	c.advance(time.Minute)
	try("mallory")
	if s.Generation() == before {
		t.Error("who looks at the status is not told")
	}
	type told struct {
		node, reason string
		since, last  time.Duration
		times        int
	}
	got := func() (all []told) {
		for _, c := range s.TurnedAway() {
			if c.Peer == "" {
				t.Errorf("%q has no peer", c.Node)
			}
			all = append(all, told{c.Node, c.Reason, c.Since.Sub(began), c.Last.Sub(began), c.Times})
		}
		return all
	}
	if want := []told{{"mallory", "not you", 0, 2 * time.Minute, 2}, {"", "tls: no", time.Minute, time.Minute, 1}, {"eve", "not you", time.Minute, time.Minute, 1}}; !slices.Equal(got(), want) {
		t.Errorf("told %v, want %v", got(), want)
	}
	if n := s.Stats().Turned; n != 4 {
		t.Errorf("counted %d, want 4", n)
	}
	before = s.Generation()
	c.advance(59*time.Minute + 30*time.Second)
	eventually(t, "who looks at the status is told that it was long ago", func() bool { return s.Generation() != before })
	if all := got(); len(all) != 1 || all[0].node != "mallory" {
		t.Errorf("after an hour: %v", all)
	}
	for i := range 150 {
		s.HandshakeFailed("192.0.2.1:1234", fmt.Errorf("no %d %s", i, strings.Repeat("x", 5000)))
	}
	if all := s.TurnedAway(); len(all) != 100 || !strings.HasPrefix(all[0].Reason, "no 149 ") || len(all[0].Reason) > 4096 {
		t.Errorf("%d are told of, the first as %.20q of %d bytes", len(all), all[0].Reason, len(all[0].Reason))
	}
}

// TestTooManyStreams checks that a node has at most 64 streams, and that further ones with
// its ID are rejected.
func TestTooManyStreams(t *testing.T) {
	s := start(t, xds.Options{})
	s.publish(t, hello1)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	one := &ask{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: "same"}}
	for range 64 {
		st, err := open(ctx, s.dial(t, ""), true)
		if err == nil {
			err = st.Send(one)
		}
		if err == nil {
			_, err = st.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if all := s.TurnedAway(); len(all) > 0 {
		t.Errorf("turned away: %v", all)
	}
	if err := s.asked(t, true, []*ask{one}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ended with %v", err)
	}
	if all := s.TurnedAway(); len(all) != 1 || all[0].Node != "same" || !strings.Contains(all[0].Reason, "has 64 streams already") {
		t.Errorf("turned away: %v", all)
	}
}

// TestNodeIDs checks that a node ID that can't be printed is rejected, and that the log
// says where it came from: people distinguish Envoys by their IDs, in terminals as well.
func TestNodeIDs(t *testing.T) {
	var log lines
	s := start(t, xds.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	s.publish(t, hello1)
	ask := func(id string) error {
		return s.asked(t, true, []*ask{{typeURL: swap.Cluster.URL(), node: &corev3.Node{Id: id}}})
	}
	for _, id := range []string{"\x1b]0;pwned\a", "edge-1\nedge-2", "edge\t1", "\u202eegde", "edge\u200b-1", "edge\u2028", "edge\u009b1", "\x7f", strings.Repeat("e", 513), strings.Repeat("e", 5000)} {
		before := log.count("refused a node")
		err := ask(id)
		if code := status.Code(err); code != codes.InvalidArgument && code != codes.ResourceExhausted || !printable.Is(status.Convert(err).Message()) {
			t.Errorf("%.20q: ended with %v", id, err)
		}
		if log.count("refused a node") != before+1 || log.count("peer=127.0.0.1:") != before+1 {
			t.Errorf("%.20q: not logged with its peer:\n%s", id, log.text())
		}
	}
	for i, id := range []string{"sidecar~10.0.0.1~web-5d.shop~shop.svc.cluster.local", "Größe/東京 1", strings.Repeat("e", 512)} {
		s.up(t, id, i%2 == 0)
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lines) count(text string) int { return strings.Count(l.text(), text) }
