package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"wasmxds/resource"
)

const drainedListener = `{"kind": "Listener", "name": "web", "address": "127.0.0.1:8080", "routes": [{"prefix": "/", "upstream": "127.0.0.1:9000"}]}`

// TestDrain ends a server as SIGTERM does while an Envoy is connected:
// readiness turns first, the stream goes on, and is ended when the time is
// over.
func TestDrain(t *testing.T) {
	const drain = time.Second
	defer goleak.VerifyNone(t)
	dir := t.TempDir()
	definitions := filepath.Join(dir, "definitions")
	if err := os.Mkdir(definitions, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(definitions, "web.json"), []byte(drainedListener), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, terminate := context.WithCancel(t.Context())
	defer terminate()
	file := filepath.Join(dir, "addresses.json")
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, []string{"serve", "--definitions", definitions, "--data", filepath.Join(dir, "data"), "--addresses-file", file,
			"--xds-listen", "127.0.0.1:0", "--modules-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--drain", drain.String()},
			os.LookupEnv, io.Discard, t.Output())
	}()
	at := addressesIn(t, file)

	conn, err := grpc.NewClient(at.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	request := &discoveryv3.DiscoveryRequest{TypeUrl: resource.ClusterType, Node: &corev3.Node{Id: "edge-1"}}
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}

	terminate()
	terminated := time.Now()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	if err := poll(5*time.Second, func() error {
		resp, err := client.Get("http://" + at.Admin + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusServiceUnavailable {
			return errors.New("still ready")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil || time.Since(terminated) < drain {
		t.Errorf("the stream ended after %v: %v", time.Since(terminated), err)
	}
	select {
	case code := <-ended:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
}

type addresses struct{ XDS, Modules, Admin string }

func addressesIn(t *testing.T, file string) (a addresses) {
	t.Helper()
	err := poll(10*time.Second, func() error {
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &a)
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
