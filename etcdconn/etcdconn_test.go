package etcdconn

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"wasmxds/certs"
	"wasmxds/state/statetest/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// log is a buffer that can be read while it is written.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *log) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: level}))
}

// ask sends a request with a new client.
func ask(o *Options, patience time.Duration) error {
	if err := o.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	client, err := o.Dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = client.Get(ctx, "/a")
	return err
}

// TestTLS checks that each connection uses the current certificate files.
func TestTLS(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	for _, d := range []string{dir, elsewhere} {
		if _, err := certs.Dev(d, certs.Development{Clients: []string{"xds"}}); err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	c := etcdtest.Start(t, 1, "--cert-file="+in("server.crt"), "--key-file="+in("server.key"),
		"--client-cert-auth", "--trusted-ca-file="+in("ca.crt"))
	var l log
	o := &Options{Endpoints: c.Endpoints(), Log: l.logger(slog.LevelInfo),
		TLS: certs.Files{Cert: in("client-xds.crt"), Key: in("client-xds.key"), CA: in("ca.crt")}}
	if err := ask(o, time.Minute); err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]certs.Files{
		"no certificate":     {CA: in("ca.crt")},
		"system authorities": {Cert: o.TLS.Cert, Key: o.TLS.Key},
		"another authority":  {Cert: o.TLS.Cert, Key: o.TLS.Key, CA: filepath.Join(elsewhere, "ca.crt")},
	} {
		other := &Options{Endpoints: c.Endpoints(), TLS: other, Log: o.Log}
		if err := ask(other, 2*time.Second); err == nil {
			t.Errorf("%s: it is answered", name)
		}
	}

	// A client that exists when the files change, at first only one of them.
	client, err := o.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	get := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_, err := client.Get(ctx, "/a")
		return err
	}
	if err := get(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, elsewhere, dir, "client-xds.crt")
	restart(c)
	if err := get(); err != nil {
		t.Errorf("halfway through a renewal: %v", err)
	}
	if !strings.Contains(l.String(), "the previous ones stay in use") {
		t.Errorf("it is not told:\n%s", l.String())
	}
	for _, name := range []string{"client-xds.key", "ca.crt", "server.crt", "server.key"} {
		copyFile(t, elsewhere, dir, name)
	}
	restart(c)
	if err := get(); err != nil {
		t.Errorf("after the renewal: %v", err)
	}
}

func restart(c *etcdtest.Cluster) {
	c.Members[0].Kill()
	c.Members[0].Restart()
	c.Members[0].Ready()
}

func copyFile(t *testing.T, from, to, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(from, name))
	if err == nil {
		err = os.WriteFile(filepath.Join(to, name), data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestPassword checks that each new client uses the current content of the password file.
func TestPassword(t *testing.T) {
	c := etcdtest.Start(t, 1)
	admin, err := (&Options{Endpoints: c.Endpoints()}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { _, err := admin.UserAdd(ctx, "root", "r"); return err },
		func(ctx context.Context) error { _, err := admin.UserGrantRole(ctx, "root", "root"); return err },
		func(ctx context.Context) error { _, err := admin.AuthEnable(ctx); return err },
	} {
		if err := step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "password")
	o := &Options{Endpoints: c.Endpoints(), User: "root", Password: file}
	for _, step := range []struct{ password, want string }{
		{"r\n", ""}, {"wrong", "invalid user ID or password"}, {"", "has no password"}, {"r", ""},
	} {
		if err := os.WriteFile(file, []byte(step.password), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := ask(o, time.Minute); fmt.Sprint(err) != "<nil>" && step.want == "" || !strings.Contains(fmt.Sprint(err), step.want) {
			t.Errorf("password %q: %v, want %q", step.password, err, step.want)
		}
	}
	if err := ask(&Options{Endpoints: c.Endpoints()}, 2*time.Second); err == nil {
		t.Error("nobody is answered")
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("p"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		endpoints string
		options   Options
		want      string // "": no error
	}{
		{"127.0.0.1:2379", Options{}, ""},
		{"http://a:1,b:2", Options{}, ""},
		{"https://a:1,https://b:2", Options{}, ""},
		{"http://localhost:1", Options{User: "u", Password: password}, ""},
		{"https://a:1", Options{User: "u", Password: password}, ""},
		{"https://a:1,http://b:2", Options{}, "either all endpoints are https://, or none"},
		{"https://a:1,b:2", Options{}, "either all endpoints are https://, or none"},
		{"a", Options{}, "needs host:port"},
		{":1", Options{}, "needs host:port"},
		{"unix://a", Options{}, "scheme unix: http or https"},
		{"http://a:1/b", Options{}, "needs a scheme, a host and a port, no more"},
		{"http://u:p@a:1", Options{}, "needs a scheme, a host and a port, no more"},
		{"a:1", Options{User: "u", Password: password}, "could be read on its way"},
		{"https://a:1", Options{User: "u"}, "go together"},
		{"https://a:1", Options{User: "u", Password: dir + "/none"}, "read the password"},
		{"a:1", Options{TLS: certs.Files{CA: "ca.crt"}}, "the endpoints are not https://"},
		{"https://a:1", Options{TLS: certs.Files{CA: dir + "/none"}}, "no such file"},
		{"https://a:1", Options{TLS: certs.Files{Cert: "c"}}, "needs both its file and its key's"},
	} {
		c.options.Endpoints = strings.Split(c.endpoints, ",")
		err := c.options.Check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %q", c.endpoints, c.options, err, c.want)
		}
	}
	if err := (&Options{}).Check(); err == nil {
		t.Error("no endpoint is good")
	}
}

// TestLog checks that the client's log is available at level debug, without a line for each
// call.
func TestLog(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo} {
		var l log
		client, err := (&Options{Endpoints: []string{"127.0.0.1:1"}, Log: l.logger(level)}).Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := client.Get(ctx, "a", clientv3.WithSerializable()); err == nil {
			t.Error("nothing listens, and it is answered")
		}
		cancel()
		client.Close()
		if got := strings.Contains(l.String(), `level=DEBUG msg="etcd client: retrying of unary invoker failed"`); got != (level == slog.LevelDebug) {
			t.Errorf("level %v:\n%s", level, l.String())
		}
		if strings.Contains(l.String(), `"etcd client: retrying of unary invoker"`) {
			t.Errorf("level %v: it logs each call:\n%s", level, l.String())
		}
	}
}
