package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"wasmxds/e2e/wasmtest"
	"wasmxds/resource"
)

// running is a server in this process.
type running struct {
	addresses
	definitions string     // directory
	terminate   func()     // as SIGTERM does
	ended       <-chan int // its exit code
}

// startServe starts a server with these definitions, by file name.
func startServe(t *testing.T, definitions map[string]string, args ...string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{definitions: filepath.Join(dir, "definitions")}
	if err := os.Mkdir(r.definitions, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range definitions {
		r.write(t, name, text)
	}
	ctx, terminate := context.WithCancel(context.Background())
	file := filepath.Join(dir, "addresses.json")
	args = append([]string{"serve", "--definitions", r.definitions, "--data", filepath.Join(dir, "data"), "--addresses-file", file,
		"--xds-listen", "127.0.0.1:0", "--modules-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--module-root", dir}, args...)
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, args, os.Environ(), io.Discard, io.Discard) }()
	r.terminate, r.ended = terminate, ended
	t.Cleanup(terminate)
	r.addresses = addressesIn(t, file)
	return r
}

func (r *running) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.definitions, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// end waits until the server has ended well.
func (r *running) end(t *testing.T) {
	t.Helper()
	r.terminate()
	select {
	case code := <-r.ended:
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
}

// ads opens a stream as an Envoy does.
func (r *running) ads(t *testing.T) discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient {
	t.Helper()
	conn, err := grpc.NewClient(r.XDS, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// admin gets a path of the admin address, once that is answered with the code
// and the text is in it.
func (r *running) admin(t *testing.T, path string, code int, text string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	err := poll(time.Minute, func() error {
		resp, err := client.Get("http://" + r.Admin + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		if resp.StatusCode != code || !strings.Contains(string(body), text) {
			return fmt.Errorf("%s answers %s: %s", path, resp.Status, body)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDrain ends a server as SIGTERM does while an Envoy is connected:
// readiness turns first, the stream goes on, and is ended when the time is
// over.
func TestDrain(t *testing.T) {
	const drain = time.Second
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after all other clean-ups
	r := startServe(t, map[string]string{
		"web.json": `{"kind": "Listener", "name": "web", "address": "127.0.0.1:8080", "routes": [{"prefix": "/", "upstream": "127.0.0.1:9000"}]}`,
	}, "--drain", drain.String())
	stream := r.ads(t)
	if err := stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: resource.ClusterType, Node: &corev3.Node{Id: "edge-1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	r.terminate()
	terminated := time.Now()
	r.admin(t, "/readyz", http.StatusServiceUnavailable, "draining")
	if _, err := stream.Recv(); err == nil || time.Since(terminated) < drain {
		t.Errorf("the stream ended after %v: %v", time.Since(terminated), err)
	}
	r.end(t)
}

// TestSwapIsMeasured finds a swap in the metrics.
func TestSwapIsMeasured(t *testing.T) {
	r := swapOnce(t)
	r.admin(t, "/metrics", http.StatusOK, `wasmxds_swaps_total{outcome="swapped"} 1`)
	r.end(t)
}

// swapOnce changes a filter under an Envoy that has listeners of its own.
func swapOnce(t *testing.T) *running {
	t.Helper()
	r, _ := swapUnder(t, nil)
	r.admin(t, "/metrics", http.StatusOK, "wasmxds_swap_seconds_count 1")
	return r
}

// swapUnder is the same with more definitions and flags, and gives what ACKs the
// next response.
func swapUnder(t *testing.T, more map[string]string, flags ...string) (r *running, ack func()) {
	t.Helper()
	const hello = `{"kind": "WasmFilter", "name": "hello", "module": {"url": "hello.wasm"}, "config": %q, "attach": {"direction": "any"}}`
	files := map[string]string{
		"hello.json": fmt.Sprintf(hello, "one"),
		"hello.wasm": string(wasmtest.Filter{Header: "x-test", FromConfig: true}.Module()),
	}
	maps.Copy(files, more)
	r = startServe(t, files, append(flags, "--drain", "0s")...)
	stream := r.ads(t)
	request := &discoveryv3.DiscoveryRequest{TypeUrl: resource.ExtensionType, ResourceNames: []string{"hello"}, Node: &corev3.Node{Id: "edge-1"}}
	ack = func() {
		t.Helper()
		resp, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		request.VersionInfo, request.ResponseNonce = resp.VersionInfo, resp.Nonce
		if err := stream.Send(request); err != nil {
			t.Fatal(err)
		}
	}
	r.admin(t, "/readyz", http.StatusOK, "ready")
	if err := stream.Send(request); err != nil {
		t.Fatal(err)
	}
	ack()
	r.admin(t, "/api/v1/status", http.StatusOK, `"state": "running"`)
	r.admin(t, "/metrics", http.StatusOK, "wasmxds_swap_seconds_count 0")
	r.write(t, "hello.json", fmt.Sprintf(hello, "two"))
	ack()
	r.admin(t, "/metrics", http.StatusOK, `wasmxds_swaps_total{outcome="swapped"} 1`) // the ACK has come
	return r, ack
}

// TestSystemdIsTold listens where systemd would.
func TestSystemdIsTold(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	told := func(want string) {
		t.Helper()
		b := make([]byte, 1024)
		if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		n, err := socket.Read(b)
		if got := string(b[:n]); err != nil || !strings.HasPrefix(got, want) {
			t.Fatalf("%q, %v; want %s", got, err, want)
		}
	}
	r := startServe(t, nil, "--drain", "0s")
	told("READY=1")
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	r.terminate()
	told("STOPPING=1")
	r.end(t)
}

type addresses struct{ XDS, Modules, Admin string }

func addressesIn(t *testing.T, file string) (a addresses) {
	t.Helper()
	err := poll(time.Minute, func() error {
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
