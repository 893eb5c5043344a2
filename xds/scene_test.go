package xds_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/resource"
	"wasmxds/xds"
	"wasmxds/xds/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// within limits every wait of these tests. It is reached only if they fail.
const within = time.Minute

// clock is a clock that tests advance.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// scene is a server on a port of its own.
type scene struct {
	*xds.Server
	addr string
	end  func() // ends Run, and waits for it

	catalog *resource.Catalog
}

// stopping serves a Server's streams.
type stopping interface {
	Serve(net.Listener) error
	GracefulStop()
	Stop()
}

// overH2 reports, from a test's name, whether it is for transport h2.
func overH2(t testing.TB) bool { return strings.Contains(t.Name(), "over_h2") }

// transports runs a test with each transport.
func transports(t *testing.T, test func(t *testing.T)) {
	t.Run("over grpc", test)
	t.Run("over h2", test)
}

// start serves until the test ends.
func start(t *testing.T, o xds.Options) *scene {
	t.Helper()
	s := &scene{Server: xds.New(o)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var g stopping
	if overH2(t) {
		g = transport.NewH2(s.Services(), transport.H2Options{})
	} else {
		byGRPC := transport.NewGRPC(nil)
		s.Services().Register(byGRPC)
		g = byGRPC
	}
	served := make(chan error, 1)
	go func() { served <- g.Serve(transport.NewListener(l, 0, slog.New(slog.DiscardHandler))) }()
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	s.end = sync.OnceFunc(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() {
		s.end()
		g.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // it may be stopped before it serves
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

// publish compiles what the words say and publishes it:
//
//	filter NAME VERSION LISTENER...
//	listener NAME [FIRST LAST]
//	spares N[,M]
//
// A listener has an upstream at each port from the first to the last.
// A filter's module is the one named by its name and version.
func (s *scene) publish(t testing.TB, text string) {
	t.Helper()
	s.catalog = compile(t, s.catalog, text)
	s.Publish(xds.Publication{Catalog: s.catalog})
}

func compile(t testing.TB, prev *resource.Catalog, text string) *resource.Catalog {
	t.Helper()
	set, o := setOf(t, text)
	c, problems := resource.Compile(prev, resource.Sets{Base: set}, o)
	for _, p := range problems.Base {
		t.Fatal(p)
	}
	return c
}

// setOf parses the words of publish.
func setOf(t testing.TB, text string) (*module.Set, resource.Options) {
	t.Helper()
	set, o := &module.Set{}, resource.Options{ModulesURL: "http://127.0.0.1:18001"}
	for line := range strings.Lines(text) {
		switch word := strings.Fields(line); {
		case len(word) == 0:
		case word[0] == "filter":
			set.Filters = append(set.Filters, filter(word[1], word[2], word[3:]))
		case word[0] == "listener":
			set.Listeners = append(set.Listeners, listener(t, word[1:]))
		case word[0] == "spares":
			var err error
			if o.Spares, err = resource.ParseSpares(word[1]); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("unknown word %q", word[0])
		}
	}
	slices.SortFunc(set.Filters, func(a, b *module.Filter) int { return strings.Compare(a.Definition.Name, b.Definition.Name) })
	slices.SortFunc(set.Listeners, func(a, b *definition.Listener) int { return strings.Compare(a.Name, b.Name) })
	return set, o
}

func listener(t testing.TB, word []string) *definition.Listener {
	t.Helper()
	first, last := 9000, 9000
	if len(word) == 3 {
		var err, err2 error
		first, err = strconv.Atoi(word[1])
		last, err2 = strconv.Atoi(word[2])
		if err != nil || err2 != nil {
			t.Fatalf("listener %q: ports that are none", word)
		}
	}
	l := &definition.Listener{Name: word[0], Address: "127.0.0.1:0", Direction: definition.Inbound}
	for port := first; port <= last; port++ {
		l.Routes = append(l.Routes, definition.Route{Prefix: fmt.Sprintf("/%d", port),
			Upstreams: []definition.Upstream{{Address: fmt.Sprintf("127.0.0.1:%d", port), Weight: 1}}})
	}
	return l
}

func filter(name, version string, in []string) *module.Filter {
	config, err := anypb.New(wrapperspb.String(version))
	if err != nil {
		panic(err)
	}
	d := &definition.Filter{
		Name: name, Config: config, OnFailure: definition.Closed, Module: definition.Module{Fetch: definition.Mirror},
		Attach: definition.Attach{Listeners: []definition.ListenerMatch{{Names: in}}},
	}
	return &module.Filter{Definition: d, Wanted: d, State: module.Good,
		Module: module.Info{SHA256: moduleOf(name, version), Size: 1000, ABI: "0.2.1"}}
}

// moduleOf returns the SHA-256 of a filter's module.
func moduleOf(name, version string) string {
	sum := sha256.Sum256([]byte(name + "-" + version))
	return hex.EncodeToString(sum[:])
}

// eventually polls until ok returns true. At the deadline it fails with what.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %v: not %s", within, what)
		}
	}
}

// node returns a connected node.
func (s *scene) node(id string) (xds.NodeStatus, bool) {
	nodes, _ := s.Nodes("", 0)
	for _, n := range nodes {
		if n.ID == id {
			return n, true
		}
	}
	return xds.NodeStatus{}, false
}

// dial connects from an address of the loopback, or from any if that is "".
func (s *scene) dial(t testing.TB, from string, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	dialer := net.Dialer{}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := grpc.NewClient("passthrough:///"+s.addr, append([]grpc.DialOption{
		grpc.WithTransportCredentials(plaintext()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", addr) }),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
