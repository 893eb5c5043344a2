package admission

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silent opens streams and sends nothing.
func silent(t *testing.T, a *Admission, n int) []discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.StreamInterceptor(a.Intercept))
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, listening{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	var all []discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient
	for range n {
		st, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, st)
	}
	return all
}

// listening is a server that only receives.
type listening struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
}

func (listening) StreamAggregatedResources(st discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	for {
		if _, err := st.Recv(); err != nil {
			return err
		}
	}
}

func TestSilentStream(t *testing.T) {
	a, err := New(Options{Streams: 10, PerIdentity: 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.wait = 50 * time.Millisecond
	st := silent(t, a, 1)[0]
	if _, err := st.Recv(); status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "no request within 50ms") {
		t.Errorf("ended with %v", err)
	}
	if n := a.unidentified.Load(); n != 0 {
		t.Errorf("%d streams still count", n)
	}
}

func TestTooManySilentStreams(t *testing.T) {
	a, err := New(Options{Streams: 2, PerIdentity: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.wait = 5 * time.Second
	ended := make(chan error, 3)
	for _, st := range silent(t, a, 3) {
		go func() {
			_, err := st.Recv()
			ended <- err
		}()
	}
	if err := <-ended; status.Code(err) != codes.ResourceExhausted {
		t.Errorf("ended with %v", err)
	}
	for range 2 {
		if err := <-ended; status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("ended with %v", err)
		}
	}
}

func TestMeet(t *testing.T) {
	a, err := New(Options{Streams: 2, PerIdentity: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	a.wait = time.Hour
	var all []func()
	for range 2 {
		met, err := a.Meet(func(err error) { t.Errorf("ended with %v after it was met", err) })
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, met)
	}
	if _, err := a.Meet(nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the third: %v", err)
	}
	for _, met := range all {
		met()
		met() // a second call has no effect
	}
	a.wait = 20 * time.Millisecond
	ended := make(chan error, 1)
	if _, err := a.Meet(func(err error) { ended <- err }); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("ended with %v", err)
	}
	if n := a.unidentified.Load(); n != 0 {
		t.Errorf("%d streams still count", n)
	}
}
