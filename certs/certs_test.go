package certs_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/certs"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// dev makes a development folder.
func dev(t *testing.T, dir string, clients ...string) {
	t.Helper()
	if _, err := certs.Dev(dir, certs.Development{Clients: clients}); err != nil {
		t.Fatal(err)
	}
}

func pair(dir, name string) certs.Files {
	return certs.Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key"), CA: filepath.Join(dir, "ca.crt")}
}

func load(t *testing.T, files certs.Files) *certs.Store {
	t.Helper()
	s, err := certs.Load(files, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func client(t *testing.T, files certs.Files) *tls.Config {
	t.Helper()
	config, err := certs.Client(files)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// echo serves lines over TLS until the test ends, and returns its address.
func echo(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		var ends []chan struct{}
		for {
			conn, err := l.Accept()
			if err != nil {
				break
			}
			end := make(chan struct{})
			ends = append(ends, end)
			go func() {
				defer close(end)
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(time.Minute))
				_, _ = io.Copy(conn, conn)
			}()
		}
		for _, end := range ends {
			<-end
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

// connection is a connection to echo.
type connection struct {
	*tls.Conn
	in *bufio.Reader
}

// dial connects and sends a line: only then does a client that uses TLS 1.3
// know whether its certificate was accepted.
func dial(t *testing.T, address string, config *tls.Config) (*connection, error) {
	t.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", address, config)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { conn.Close() })
	c := &connection{conn, bufio.NewReader(conn)}
	return c, c.say("hello")
}

func (c *connection) say(word string) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c, word); err != nil {
		return err
	}
	got, err := c.in.ReadString('\n')
	if err == nil && got != word+"\n" {
		err = fmt.Errorf("echo %q", got)
	}
	return err
}

func (c *connection) serial() string {
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func TestHandshake(t *testing.T) {
	dir, elsewhere := t.TempDir(), t.TempDir()
	dev(t, dir, "edge-1")
	dev(t, elsewhere, "edge-1")
	address := echo(t, load(t, pair(dir, "server")).Server("h2", "http/1.1"))
	_, port, _ := net.SplitHostPort(address)

	for _, tc := range []struct {
		name   string
		change func(*tls.Config)
		files  certs.Files
		err    string // "": none
	}{
		{"good", nil, pair(dir, "client-edge-1"), ""},
		{"by name", func(c *tls.Config) { c.ServerName = "localhost" }, pair(dir, "client-edge-1"), ""},
		{"TLS 1.2", func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, pair(dir, "client-edge-1"), ""},
		{"TLS 1.1", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, pair(dir, "client-edge-1"), "protocol version"},
		{"no certificate", nil, certs.Files{CA: dir + "/ca.crt"}, "certificate required"},
		{"certificate of another authority", nil, certs.Files{CA: dir + "/ca.crt", Cert: elsewhere + "/client-edge-1.crt", Key: elsewhere + "/client-edge-1.key"}, "certificate"},
		{"server of another authority", nil, certs.Files{CA: elsewhere + "/ca.crt"}, "unknown authority"},
		{"another name", func(c *tls.Config) { c.ServerName = "example.com" }, pair(dir, "client-edge-1"), "not example.com"},
		{"other protocol", func(c *tls.Config) { c.NextProtos = []string{"spdy"} }, pair(dir, "client-edge-1"), "no application protocol"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			config := client(t, tc.files)
			config.NextProtos = []string{"h2"}
			if tc.change != nil {
				tc.change(config)
			}
			c, err := dial(t, net.JoinHostPort("127.0.0.1", port), config)
			switch {
			case tc.err == "" && err != nil:
				t.Error(err)
			case tc.err == "" && c.ConnectionState().NegotiatedProtocol != "h2":
				t.Errorf("protocol %q", c.ConnectionState().NegotiatedProtocol)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("error %v, want one with %q", err, tc.err)
			}
		})
	}
}

// TestReload checks that new connections get the new certificate, and may use
// the new authority, while existing ones stay open.
func TestReload(t *testing.T) {
	dir, next := t.TempDir(), t.TempDir()
	dev(t, dir, "edge-1")
	dev(t, next, "edge-1")
	store := load(t, pair(dir, "server"))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- store.Run(ctx, 10*time.Millisecond) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	address := echo(t, store.Server("h2"))
	newClient := client(t, pair(next, "client-edge-1"))

	old, err := dial(t, address, client(t, pair(dir, "client-edge-1")))
	if err != nil {
		t.Fatal(err)
	}
	oldClient := client(t, pair(dir, "client-edge-1"))
	oldClient.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	resumed := false
	for range 2 {
		c, err := dial(t, address, oldClient)
		if err != nil {
			t.Fatal(err)
		}
		resumed = c.ConnectionState().DidResume
	}
	if !resumed {
		t.Error("sessions are not resumed")
	}

	// Halfway: the new certificate exists, its key does not.
	move(t, next, dir, "server.crt")
	wait(t, "the pair to be refused", func() bool { return store.Status().Err != nil })
	c, err := dial(t, address, client(t, pair(dir, "client-edge-1")))
	if err != nil || c.serial() != old.serial() {
		t.Errorf("halfway through a renewal: %v", err)
	}
	before := store.Status()
	move(t, next, dir, "server.key")
	move(t, next, dir, "ca.crt")
	wait(t, "the new authority", func() bool { _, err := dial(t, address, newClient); return err == nil })
	if now := store.Status(); now.Err != nil || !now.Loaded.After(before.Loaded) {
		t.Errorf("status %+v", now)
	}
	if c, err = dial(t, address, newClient); err != nil || c.serial() == old.serial() {
		t.Errorf("after the renewal: %v", err)
	}
	// Clients of the old authority are denied, even with earlier sessions.
	oldClient.RootCAs = newClient.RootCAs
	if c, err := dial(t, address, oldClient); err == nil {
		t.Errorf("a client of the old authority was let in, resumed: %v", c.ConnectionState().DidResume)
	}
	if err := old.say("still there"); err != nil {
		t.Errorf("a connection from before: %v", err)
	}
}

func move(t *testing.T, from, to, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(from, name))
	if err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(to, "."+name)
	if err := os.WriteFile(temp, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(to, name)); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, until func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !until() {
		if time.Now().After(end) {
			t.Fatalf("waited for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	dev(t, dir, "edge-1")
	good := pair(dir, "server")
	for want, files := range map[string]certs.Files{
		"no such file":               {Cert: dir + "/none", Key: good.Key},
		"private key does not match": {Cert: good.Cert, Key: dir + "/client-edge-1.key"},
		"has no certificate":         {Cert: good.Cert, Key: good.Key, CA: good.Key},
	} {
		if _, err := certs.Load(files, quiet); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for want, files := range map[string]certs.Files{
		"both its file":      {Cert: good.Cert},
		"no such file":       {CA: dir + "/none"},
		"does not match":     {Cert: good.Cert, Key: dir + "/client-edge-1.key"},
		"has no certificate": {CA: good.Key},
	} {
		if _, err := certs.Client(files); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("client: %v, want %s", err, want)
		}
	}
}
