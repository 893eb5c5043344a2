package admission_test

import (
	"crypto/tls"
	"net"
	"strings"
	"testing"

	"wasmxds/certs"
	"wasmxds/identity/admission"
)

// TestFailedHandshakes checks that failed TLS handshakes are reported, except
// those of port probes.
func TestFailedHandshakes(t *testing.T) {
	dir := t.TempDir()
	if _, err := certs.Dev(dir, certs.Development{}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/server.crt", dir+"/server.key")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client func(net.Conn)
		want   string
	}{
		"plaintext": {func(c net.Conn) { c.Write([]byte("PRI * HTTP/2.0\r\n\r\n")) }, "the client does not use TLS"},
		"does not trust the server": {func(c net.Conn) {
			_ = tls.Client(c, &tls.Config{ServerName: "localhost", NextProtos: []string{"h2"}}).Handshake() // it must fail
		}, "remote error: tls: "},
		"a probe": {func(net.Conn) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var told []string
			creds := admission.Credentials(&tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}}, func(peer string, reason error) { told = append(told, peer+": "+reason.Error()) })
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				c.client(conn)
			}()
			served, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := creds.ServerHandshake(served); err == nil {
				t.Error("the handshake succeeded")
			}
			served.Close()
			<-ended
			if got := strings.Join(told, "\n"); c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}
