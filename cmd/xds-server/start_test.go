package main

import (
	"net"
	"os"
	"strings"
	"testing"

	"wasmxds/certs"
)

// TestBootstrapCommand: an empty page tells what an Envoy of this server is started
// with.
func TestBootstrapCommand(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	at := func(ip string, port int) net.Listener { return address{&net.TCPAddr{IP: net.ParseIP(ip), Port: port}} }
	for _, c := range []struct {
		name string
		ls   listeners
		tls  certs.Files
		want string
	}{
		{"as it is by itself", listeners{xds: at("127.0.0.1", 18000), modulesURL: "http://127.0.0.1:18001"}, certs.Files{}, ""},
		{"other ports", listeners{xds: at("10.1.2.3", 1), modulesURL: "http://10.1.2.3:2"}, certs.Files{}, " --xds-address 10.1.2.3:1 --modules-url http://10.1.2.3:2"},
		{"all addresses, mutual TLS", listeners{xds: at("0.0.0.0", 18000), modulesURL: "https://xds:18001"}, certs.Files{Cert: "c", Key: "k", CA: "a"},
			" --xds-address " + host + ":18000 --modules-url https://xds:18001 --ca ca.crt --cert tls.crt --key tls.key"},
	} {
		f := serveFlags{secure: secureFlags{ads: c.tls}}
		got, want := strings.Join(f.bootstrapCommand(&c.ls), " "), "xds-server bootstrap --node-id edge-1"+c.want
		if got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
		if err := newBootstrap().ParseFlags(strings.Fields(got)[2:]); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// address is a listener that only has one.
type address struct{ at net.Addr }

func (a address) Addr() net.Addr            { return a.at }
func (a address) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a address) Close() error              { return nil }
