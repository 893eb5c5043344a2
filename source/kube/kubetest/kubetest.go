// Package kubetest starts a real Kubernetes API server for tests, with its own
// etcd, both as child processes on free loopback ports, and stops them with the
// test. No pods run: Envoys are started beside it.
//
// Start with [Start]. A [Server] can be killed and started again with its
// stored objects.
package kubetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/exectest"
	"wasmxds/state/statetest/etcdtest"
)

// patience is how long the server may take to become ready on a busy machine.
const patience = 2 * time.Minute

// Server is an API server. Config has all permissions.
type Server struct {
	Config *rest.Config
	Client dynamic.Interface

	t       testing.TB
	path    string
	dir     string
	args    []string
	process *exectest.Process // nil: not started so far
}

// users are the tokens that the server accepts: admin, with all permissions,
// and xds-server, with those that it is granted.
const users = `admin,admin,1,"system:masters"
xds-server,xds-server,2
`

// Start starts a server, and returns when it is ready.
func Start(t testing.TB) *Server {
	t.Helper()
	return start(t, nil)
}

// start starts a server. The function more returns additional arguments.
func start(t testing.TB, more func(*Server) []string) *Server {
	t.Helper()
	path, err := exectest.Find("kube-apiserver")
	if err != nil {
		t.Fatal(err)
	}
	etcd := etcdtest.Start(t, 1)
	s := &Server{t: t, path: path, dir: t.TempDir()}
	s.write("tokens.csv", []byte(users))
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	s.write("sa.key", private)
	address, err := exectest.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	s.args = []string{
		"--etcd-servers=" + etcd.Endpoints()[0], "--bind-address=127.0.0.1", "--secure-port=" + port,
		"--cert-dir=" + filepath.Join(s.dir, "certs"), "--service-account-key-file=" + filepath.Join(s.dir, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(s.dir, "sa.key"), "--service-account-issuer=https://k8s.local",
		"--service-cluster-ip-range=10.96.0.0/24", "--token-auth-file=" + filepath.Join(s.dir, "tokens.csv"),
		"--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--watch-cache=true",
	}
	if more != nil {
		s.args = append(s.args, more(s)...)
	}
	s.Config = s.As("admin", "https://"+address)
	if s.Client, err = dynamic.NewForConfig(s.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

// As returns the client configuration of a user.
func (s *Server) As(user string, host ...string) *rest.Config {
	if len(host) == 0 {
		host = []string{s.Config.Host}
	}
	return &rest.Config{Host: host[0], BearerToken: user, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
}

// Kubeconfig writes a kubeconfig file for a user, for the server itself or
// another host.
func (s *Server) Kubeconfig(user string, host ...string) string {
	reached := s.As(user, host...).Host
	return s.write(user+"-"+reached[strings.LastIndex(reached, ":")+1:]+".kubeconfig", fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- {name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}
users:
- {name: test, user: {token: %s}}
contexts:
- {name: test, context: {cluster: test, user: test}}
current-context: test
`, reached, user))
}

// Run starts the server, and returns when it is ready.
func (s *Server) Run() {
	s.t.Helper()
	process, err := exectest.Start(exec.Command(s.path, s.args...), filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = process
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		why := s.ready(client)
		if why == nil {
			return
		}
		if err := process.Running(); err != nil {
			s.t.Fatal(err)
		}
		if time.Now().After(end) {
			s.t.Fatalf("the API server is not ready: %v\n%s", why, process.Tail(20))
		}
	}
}

func (s *Server) ready(client *http.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Config.Host+"/readyz", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// Kill kills the server; Run starts it again.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
	}
}

func (s *Server) write(name string, data []byte) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}
