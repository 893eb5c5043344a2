package admission

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"wasmxds/definition"
)

// streamOf returns the context of a stream whose client has a certificate, and
// a function that ends it.
func streamOf(id string, end func() error) (context.Context, context.CancelFunc) {
	u, err := url.Parse(id)
	if err != nil {
		panic(err) // id is misspelt in the test
	}
	leaf := &x509.Certificate{URIs: []*url.URL{u}}
	info := &connection{end: end, TLSInfo: credentials.TLSInfo{State: tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}}}
	return context.WithCancel(peer.NewContext(context.Background(), &peer.Peer{AuthInfo: info}))
}

func policyFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy.yaml")
	writePolicy(t, file, content)
	return file
}

func writePolicy(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

const everyNode = "rules:\n- who: [spiffe://example.com/node/*]\n  ids: [\"$1\", \"$1-*\"]\n"

func TestStreamLimits(t *testing.T) {
	a, err := New(Options{Policy: policyFile(t, everyNode), Streams: 3, PerIdentity: 2, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	allow := func(id, node string) (context.CancelFunc, error) {
		ctx, end := streamOf("spiffe://example.com/node/"+id, nil)
		t.Cleanup(end)
		return end, a.Allow(ctx, definition.Node{ID: node})
	}
	refused := func(id, node string, code codes.Code, why string) {
		t.Helper()
		if _, err := allow(id, node); err == nil || status.Code(err) != code || !strings.Contains(err.Error(), why) {
			t.Errorf("%s as %s: %v, want %v with %q", id, node, err, code, why)
		}
	}
	end, err := allow("a", "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := allow("a", "a-2"); err != nil {
		t.Fatal(err)
	}
	refused("a", "a-3", codes.ResourceExhausted, "spiffe://example.com/node/a has 2 streams")
	refused("a", "b", codes.Unknown, `may not be node "b"`) // xds converts it to PermissionDenied
	if _, err := allow("b", "b"); err != nil {
		t.Fatal(err)
	}
	refused("c", "c", codes.ResourceExhausted, "there are 3 streams")
	end()
	deadline := time.Now().Add(time.Minute)
	for _, err = allow("c", "c"); err != nil && time.Now().Before(deadline); _, err = allow("c", "c") {
		time.Sleep(time.Millisecond)
	}
	if err != nil {
		t.Errorf("a stream that ended counts: %v", err)
	}
}

// TestAllowLogs checks that a client that may be a node may also send its logs,
// without counting towards the limits of ADS streams, as long as the policy
// allows it.
func TestAllowLogs(t *testing.T) {
	file := policyFile(t, everyNode)
	a, err := New(Options{Policy: file, Streams: 1, PerIdentity: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := 0
	ctx, end := streamOf("spiffe://example.com/node/a", func() error { ended++; return nil })
	defer end()
	for range 3 {
		if err := a.AllowLogs(ctx, definition.Node{ID: "a"}); err != nil {
			t.Error(err)
		}
	}
	if err := a.AllowLogs(ctx, definition.Node{ID: "b"}); err == nil {
		t.Error("a may log as b")
	}
	other, leave := streamOf("spiffe://example.com/node/a", nil)
	defer leave()
	if err := a.Allow(other, definition.Node{ID: "a"}); err != nil {
		t.Errorf("its access logs have taken the place of its ADS stream: %v", err)
	}
	writePolicy(t, file, "rules:\n- who: [spiffe://example.com/node/b]\n  ids: [b]\n")
	a.Reload()
	if ended != 3 {
		t.Errorf("%d of 3 streams have ended that are no longer allowed", ended)
	}
}

func TestAllowStatus(t *testing.T) {
	a, err := New(Options{Policy: policyFile(t, everyNode), Streams: 1, PerIdentity: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := streamOf("spiffe://example.com/node/a", nil)
	defer end()
	for range 3 { // this counts no streams
		if err := a.AllowStatus(ctx, definition.Node{ID: "a-2"}); err != nil {
			t.Error(err)
		}
	}
	if err := a.AllowStatus(ctx, definition.Node{ID: "b"}); err == nil {
		t.Error("a may see b")
	}
	if err := a.AllowStatus(context.Background(), definition.Node{ID: "a"}); err == nil {
		t.Error("nobody may see a")
	}
}

func TestPolicyReload(t *testing.T) {
	file := policyFile(t, everyNode)
	a, err := New(Options{Policy: file, Streams: 10, PerIdentity: 10, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ended := map[string]bool{}
	for _, id := range []string{"a", "b"} {
		ctx, end := streamOf("spiffe://example.com/node/"+id, func() error { ended[id] = true; return nil })
		defer end()
		if err := a.Allow(ctx, definition.Node{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	for name, wrong := range map[string]string{"not a policy": "rules: [{whom: a}]", "empty": "", "too large": strings.Repeat("#", 2<<20)} {
		writePolicy(t, file, wrong)
		a.Reload()
		if len(a.Problems()) == 0 || len(ended) > 0 {
			t.Errorf("%s: problems %v, ended %v", name, a.Problems(), ended)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	a.Reload()
	if len(a.Problems()) != 1 || len(ended) > 0 {
		t.Errorf("file is gone: problems %v, ended %v", a.Problems(), ended)
	}
	writePolicy(t, file, strings.ReplaceAll(everyNode, "/*", "/b"))
	a.Reload()
	if len(a.Problems()) == 0 { // "$1" now refers to nothing
		t.Error("a reference to nothing was taken")
	}
	writePolicy(t, file, "rules:\n- who: [spiffe://example.com/node/b]\n  ids: [b]\n")
	a.Reload()
	if len(a.Problems()) > 0 || !ended["a"] || ended["b"] {
		t.Errorf("problems %v, ended %v", a.Problems(), ended)
	}
}

// TestOperatorsOfThePolicy checks that the current policy determines the
// operators.
func TestOperatorsOfThePolicy(t *testing.T) {
	file := policyFile(t, everyNode)
	a, err := New(Options{Policy: file, Streams: 1, PerIdentity: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{DNSNames: []string{"ops.example.com"}}
	for _, c := range []struct{ policy, want string }{
		{everyNode, ""},
		{everyNode + "operators: ops.example.com\n", "ops.example.com"},
		{everyNode + "operators: [ops.example.com, 1]\n", "ops.example.com"}, // invalid: the previous one stays in force
		{everyNode + "operators: other.example.com\n", ""},
	} {
		writePolicy(t, file, c.policy)
		a.Reload()
		if got := a.Operator(cert); got != c.want {
			t.Errorf("%s: %q, want %q", c.policy, got, c.want)
		}
	}
	none, err := New(Options{Streams: 1, PerIdentity: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if got := none.Operator(cert); got != "" {
		t.Errorf("without a policy: %q", got)
	}
}
