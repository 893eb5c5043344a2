// Package kubetest starts a real Kubernetes API server for tests, with an etcd of
// its own, both as child processes on free loopback ports, and ends them with the
// test. No pods run: Envoys are started beside it.
//
// Start with [Start]. A [Server] can be killed and started again with what it has
// stored.
package kubetest

import (
	"bytes"
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
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"wasmxds/state/statetest/etcdtest"
)

// patience is how long the server may take to be ready, on a machine with much
// else to do.
const patience = 2 * time.Minute

// Server is an API server. Whoever asks by Config may do everything.
type Server struct {
	Config *rest.Config
	Client dynamic.Interface

	t       testing.TB
	path    string
	dir     string
	args    []string
	process *exec.Cmd
	ended   chan struct{} // of process
	output  *output
}

// users are the tokens that the server knows: whoever may do everything, and
// xds-server, which may what it is granted.
const users = `admin,admin,1,"system:masters"
xds-server,xds-server,2
`

// Start starts a server, and returns when it serves.
func Start(t testing.TB) *Server {
	t.Helper()
	path, err := Binary()
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
	port := freePort(t)
	s.args = []string{
		"--etcd-servers=" + etcd.Endpoints()[0], "--bind-address=127.0.0.1", "--secure-port=" + port,
		"--cert-dir=" + filepath.Join(s.dir, "certs"), "--service-account-key-file=" + filepath.Join(s.dir, "sa.key"),
		"--service-account-signing-key-file=" + filepath.Join(s.dir, "sa.key"), "--service-account-issuer=https://k8s.local",
		"--service-cluster-ip-range=10.96.0.0/24", "--token-auth-file=" + filepath.Join(s.dir, "tokens.csv"),
		"--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount", "--watch-cache=true",
	}
	s.Config = s.As("admin", "https://127.0.0.1:"+port)
	if s.Client, err = dynamic.NewForConfig(s.Config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	s.Run()
	return s
}

// As is how a user reaches the server.
func (s *Server) As(user string, host ...string) *rest.Config {
	if len(host) == 0 {
		host = []string{s.Config.Host}
	}
	return &rest.Config{Host: host[0], BearerToken: user, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
}

// Kubeconfig writes a file by which a user reaches the server.
func (s *Server) Kubeconfig(user string) string {
	return s.write(user+".kubeconfig", fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- {name: test, cluster: {server: %q, insecure-skip-tls-verify: true}}
users:
- {name: test, user: {token: %s}}
contexts:
- {name: test, context: {cluster: test, user: test}}
current-context: test
`, s.Config.Host, user))
}

// Run starts the server, and returns when it serves.
func (s *Server) Run() {
	s.t.Helper()
	s.output = &output{}
	s.process = exec.Command(s.path, s.args...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.process.SysProcAttr = endWithParent()
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan struct{}) {
		defer close(ended)
		_ = p.Wait() // it is killed
	}(s.process, s.ended)
	client, err := rest.HTTPClientFor(s.Config)
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for end := time.Now().Add(patience); ; {
		if why := s.ready(client); why == nil {
			return
		} else if time.Now().After(end) {
			s.t.Fatalf("the API server is not ready: %v\n%s", why, s.output)
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the API server ended\n%s", s.output)
		case <-time.After(100 * time.Millisecond):
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

// Kill ends the server at once; Run starts it again.
func (s *Server) Kill() {
	if s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Kill() // it may have ended
	<-s.ended
}

func (s *Server) write(name string, data []byte) string {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// output keeps the end of what the server says.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.Len() > 1<<20 {
		o.b.Reset()
	}
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.b.Bytes()
	return string(b[max(0, len(b)-4000):])
}

// freePort is one that was free a moment ago.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// ErrNoServer is returned where no API server is to be found.
var ErrNoServer = errors.New("no Kubernetes API server here: run `make kube-apiserver`, or set KUBE_APISERVER=/path/to/kube-apiserver")

// Binary finds the API server to test with: the one that $KUBE_APISERVER names,
// else the newest below the project's .tools.
func Binary() (string, error) {
	if path := os.Getenv("KUBE_APISERVER"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the API server: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if found, _ := filepath.Glob(filepath.Join(dir, ".tools", "kube-apiserver-*", "kube-apiserver")); len(found) > 0 {
			return found[len(found)-1], nil
		}
		if dir == filepath.Dir(dir) {
			return "", ErrNoServer
		}
	}
}
