package main

import (
	"net"
	"os"
	"strings"

	"wasmxds/admin"
)

// start tells people who look at an empty page how to begin with this server.
func (f *serveFlags) start(definitions string, ls *listeners) admin.Start {
	s := admin.Start{Directory: definitions, Definition: admin.FirstDefinition, Bootstrap: f.bootstrapCommand(ls)}
	if f.etcd.used() {
		s.Elsewhere = append(s.Elsewhere, "etcd at "+strings.Join(f.etcd.endpoints, ", "))
		if definitions == "" {
			s.Apply = "xds-server apply --etcd " + strings.Join(f.etcd.endpoints, ",") + " hello.yaml"
			s.Definition = strings.Replace(s.Definition, "hello.wasm", `"https://example.com/hello.wasm"`, 1)
		}
	}
	if f.kubernetes.on {
		s.Elsewhere = append(s.Elsewhere, "the objects of a Kubernetes cluster")
		if definitions == "" && !f.etcd.used() {
			s.Apply, s.Definition = "kubectl apply -f hello.yaml", admin.FirstObject
		}
	}
	return s
}

// bootstrapCommand is how an Envoy gets what it starts with, for the addresses and
// certificates that this server has.
func (f *serveFlags) bootstrapCommand(ls *listeners) []string {
	lines := []string{"xds-server bootstrap --node-id edge-1"}
	add := func(flag, value string) { lines = append(lines, "--"+flag+" "+value) }
	if at := reachable(ls.xds.Addr()); at != "127.0.0.1:18000" {
		add("xds-address", at)
	}
	if f.secure.ads.Cert == "" {
		if ls.modulesURL != "http://127.0.0.1:18001" {
			add("modules-url", ls.modulesURL)
		}
		return lines
	}
	add("modules-url", ls.modulesURL)
	add("ca", "ca.crt")
	if f.secure.ads.CA != "" {
		add("cert", "tls.crt")
		add("key", "tls.key")
	}
	return lines
}

// reachable is an address as Envoys may reach it: where a server listens on all, by the
// name of this machine.
func reachable(a net.Addr) string {
	at, ok := a.(*net.TCPAddr)
	if !ok || !at.IP.IsUnspecified() {
		return a.String()
	}
	host, err := os.Hostname()
	if err != nil {
		return a.String()
	}
	_, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	return net.JoinHostPort(host, port)
}
