package bootstrap_test

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"wasmxds/bootstrap"
	"wasmxds/certs"
	"wasmxds/definition"
)

// TestEnvoyShowsNewCertificates checks that an Envoy connects with its current
// certificate, and with the next one when that has been moved into place.
func TestEnvoyShowsNewCertificates(t *testing.T) {
	for _, envoy := range envoys(t) {
		t.Run(filepath.Base(filepath.Dir(envoy)), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			dev := func() {
				if _, err := certs.Dev(dir, certs.Development{Clients: []string{"edge-1"}}); err != nil {
					t.Fatal(err)
				}
			}
			dev()
			address, serials := handshakes(t, dir)
			options := bootstrap.TLS{
				CA: dir + "/ca.crt", Cert: dir + "/client-edge-1.crt", Key: dir + "/client-edge-1.key",
				SAN: "spiffe://wasmxds.dev/xds-server", SecretsDir: dir,
			}
			files, err := options.Secrets()
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range files {
				write(t, filepath.Join(dir, name), content)
			}
			config, err := bootstrap.Render(bootstrap.Options{Node: definition.Node{ID: "edge-1"}, XDSAddress: address, TLS: &options})
			if err != nil {
				t.Fatal(err)
			}
			write(t, dir+"/bootstrap.yaml", config)
			log, err := os.Create(dir + "/log")
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			cmd := exec.Command(envoy, "-c", dir+"/bootstrap.yaml", "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning")
			cmd.Stdout, cmd.Stderr = log, log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()

			await := func(not string) string {
				end := time.After(30 * time.Second)
				for {
					select {
					case serial := <-serials:
						if serial != not {
							return serial
						}
					case <-end:
						text, _ := os.ReadFile(dir + "/log")
						t.Fatalf("no connection with another certificate than %q\n%s", not, text)
					}
				}
			}
			first := await("")
			dev() // renames into place
			await(first)
		})
	}
}

// handshakes accepts connections with the server's certificate in a folder,
// sends the serial numbers of clients' certificates, and closes the
// connections.
func handshakes(t *testing.T, dir string) (address string, serials <-chan string) {
	t.Helper()
	store, err := certs.Load(certs.Files{Cert: dir + "/server.crt", Key: dir + "/server.key", CA: dir + "/ca.crt"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", store.Server("h2"))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan string, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if serial, err := handshake(conn); err == nil {
				seen <- serial
			} else if err != io.EOF {
				t.Logf("handshake: %v", err)
			}
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String(), seen
}

func handshake(conn net.Conn) (serial string, err error) {
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return "", err
	}
	c := conn.(*tls.Conn)
	if err := c.Handshake(); err != nil {
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}
