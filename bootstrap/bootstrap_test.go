package bootstrap_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"

	"wasmxds/bootstrap"
	"wasmxds/definition"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func static(t *testing.T) []*definition.Resource {
	t.Helper()
	data, err := os.ReadFile("testdata/static.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rs, problems := definition.ParseStatic("testdata/static.yaml", data)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return rs
}

// cases returns options by the name of their golden file.
func cases(t *testing.T) map[string]bootstrap.Options {
	edge := definition.Node{ID: "edge-1", Cluster: "edge", Labels: map[string]string{
		"app": "shop", "env": "yes", "rev": "1e3", "octal": "010", "empty": "", "none": "null", "on": "y: {}", "time": "12:30:45",
	}}
	secrets := &bootstrap.TLS{CA: "/certs/ca.pem", Cert: "/certs/tls.crt", Key: "/certs/tls.key", SecretsDir: "/etc/envoy"}
	return map[string]bootstrap.Options{
		"drain-time": {
			Node: edge, XDSAddress: "127.0.0.1:18000", DrainTime: time.Minute, HangTimeout: 30 * time.Second,
		},
		"plain": {
			Node: definition.Node{ID: "edge-1"}, XDSAddress: "127.0.0.1:18000", AdminAddress: "127.0.0.1:0",
		},
		"labels": {
			Node: edge, XDSAddress: "xds.example.com:18000", AdminAddress: "[::1]:9901", Protocol: bootstrap.SOTW,
		},
		"static": {
			Node: edge, XDSAddress: "127.0.0.1:18000", AdminAddress: "127.0.0.1:0",
			Static: static(t), ModulesURL: "http://127.0.0.1:18001",
		},
		"static-sotw": {
			Node: edge, XDSAddress: "127.0.0.1:18000", Protocol: bootstrap.SOTW,
			Static: static(t), ModulesURL: "https://modules.example.com/", TLS: &bootstrap.TLS{CA: "/certs/ca.pem"},
		},
		"tls": {
			Node: edge, XDSAddress: "127.0.0.1:18000",
			TLS: &bootstrap.TLS{CA: "/certs/ca.pem", Cert: "/certs/tls.crt", Key: "/certs/tls.key"},
		},
		"tls-secrets": {
			Node: edge, XDSAddress: "xds.example.com:18000", ModulesURL: "https://xds.example.com:18001", TLS: secrets,
		},
		"service": {
			Node: edge, XDSAddress: "xds-server.wasmxds-system:18000", Replicas: 3,
		},
		"wasm-service": {
			Node: definition.Node{ID: "edge-1"}, XDSAddress: "127.0.0.1:18000", ModulesURL: "http://127.0.0.1:18001/",
			Services: []bootstrap.Service{wasmService("usage"), {Name: "audit", Version: "2", SHA256: strings.Repeat("b", 64), Wait: true, Config: wasmService("").Config}},
		},
		"replicas": {
			Node: edge, XDSAddress: "10.0.0.1:18000,10.0.0.2:18000, 10.0.0.3:18000",
		},
		"replicas-tls": {
			Node: edge, XDSAddress: "xds-0.example.com:18000,xds-1.example.com:18000", ModulesURL: "https://xds-0.example.com:18001,https://xds-1.example.com:18001",
			TLS: &bootstrap.TLS{CA: "/certs/ca.pem"},
		},
		"tls-san": {
			Node: edge, XDSAddress: "10.0.0.1:18000",
			TLS: &bootstrap.TLS{CA: "/certs/ca.pem", ServerName: "xds.internal", SAN: "spiffe://example.com/xds-server"},
		},
	}
}

func wasmService(name string) bootstrap.Service {
	return bootstrap.Service{Name: name, Version: "1", SHA256: strings.Repeat("a", 64), Config: &wasmv3.WasmService{Config: &wasmv3.PluginConfig{
		Name: name, Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{Runtime: "envoy.wasm.runtime.v8"}},
	}}}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden.yaml")
	if *update {
		if err := os.WriteFile(path, got, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; go test -update rewrites it):\n%s", path, diff)
	}
}

func TestRender(t *testing.T) {
	for name, o := range cases(t) {
		t.Run(name, func(t *testing.T) {
			got, err := bootstrap.Render(o)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, got)
			again, err := bootstrap.Render(o)
			if err != nil || string(again) != string(got) {
				t.Errorf("another time it is %s, %v", again, err)
			}
		})
	}
}

func TestSecrets(t *testing.T) {
	files, err := cases(t)["tls-secrets"].TLS.Secrets()
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, []string{"wasmxds-ca.yaml", "wasmxds-certificate.yaml"}) {
		t.Errorf("files %v", got)
	}
	for name, content := range files {
		golden(t, strings.TrimSuffix(name, ".yaml"), content)
	}
}

func TestErrors(t *testing.T) {
	good := bootstrap.Options{Node: definition.Node{ID: "a"}, XDSAddress: "127.0.0.1:18000"}
	way := &definition.Resource{Pos: definition.Position{File: "f.yaml", Line: 7}}
	for _, r := range static(t) {
		if r.Name == "web" {
			way.TypeURL, way.Message = r.TypeURL, r.Message
		}
	}
	for want, change := range map[string]func(*bootstrap.Options){
		"an Envoy needs a node ID":                                     func(o *bootstrap.Options) { o.Node.ID = "" },
		"an Envoy needs the address of xds-server":                     func(o *bootstrap.Options) { o.XDSAddress = "" },
		`the xDS address "localhost" is not host:port`:                 func(o *bootstrap.Options) { o.XDSAddress = "localhost" },
		`the xDS address "localhost:http" has no port from 0 to 65535`: func(o *bootstrap.Options) { o.XDSAddress = "localhost:http" },
		`the xDS address "" is not host:port`:                          func(o *bootstrap.Options) { o.XDSAddress = "127.0.0.1:18000," },
		`the xDS address "a:1" is there twice`:                         func(o *bootstrap.Options) { o.XDSAddress = "a:1,b:1, a:1" },
		`the modules URL "http://h" does not begin with https: as that of another replica does`: func(o *bootstrap.Options) {
			o.Static, o.ModulesURL = []*definition.Resource{way}, "https://h,http://h"
		},
		`the admin address ":1" is not host:port`:                                func(o *bootstrap.Options) { o.AdminAddress = ":1" },
		`protocol "rest" is neither delta nor sotw`:                              func(o *bootstrap.Options) { o.Protocol = "rest" },
		"an Envoy with static listeners needs the URL of xds-server's modules":   func(o *bootstrap.Options) { o.Static = []*definition.Resource{way} },
		`the modules URL "ftp://h" is not http://host:port or https://host:port`: func(o *bootstrap.Options) { o.Static, o.ModulesURL = []*definition.Resource{way}, "ftp://h" },
		"the modules URL is https, which needs a CA to know xds-server by":       func(o *bootstrap.Options) { o.Static, o.ModulesURL = []*definition.Resource{way}, "https://h" },
		"the drain time 1.5s is not whole seconds up to 24h":                     func(o *bootstrap.Options) { o.DrainTime = 1500 * time.Millisecond },
		"the drain time -1s is not whole seconds up to 24h":                      func(o *bootstrap.Options) { o.DrainTime = -time.Second },
		"the drain time 24h0m1s is not whole seconds up to 24h":                  func(o *bootstrap.Options) { o.DrainTime = 24*time.Hour + time.Second },
		"TLS to xds-server needs a CA to know it by":                             func(o *bootstrap.Options) { o.TLS = &bootstrap.TLS{} },
		"TLS to xds-server needs both the certificate and its key, or neither":   func(o *bootstrap.Options) { o.TLS = &bootstrap.TLS{CA: "a", Key: "b"} },
	} {
		o := good
		change(&o)
		if got, err := bootstrap.Render(o); err == nil || err.Error() != want || got != nil {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestStaticNamesOfOurs checks that neither a file nor a caller can add a
// cluster with a reserved name.
func TestStaticNamesOfOurs(t *testing.T) {
	data := "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\nname: wasmxds-other\n"
	if rs, problems := definition.ParseStatic("f.yaml", []byte(data)); rs != nil || len(problems) != 1 || problems[0].Line != 2 || problems[0].Hint == "" {
		t.Errorf("%v %v", rs, problems)
	}
	_, err := bootstrap.Render(bootstrap.Options{
		Node: definition.Node{ID: "a"}, XDSAddress: "127.0.0.1:1", ModulesURL: "http://127.0.0.1:2",
		Static: []*definition.Resource{{Pos: definition.Position{File: "f.yaml", Line: 1}, Message: &clusterv3.Cluster{Name: "wasmxds"}}},
	})
	var p definition.Problem
	if !errors.As(err, &p) || p.File != "f.yaml" || p.Line != 1 {
		t.Errorf("%v", err)
	}
}

// TestEnvoyTakesIt validates every bootstrap with every installed Envoy.
func TestEnvoyTakesIt(t *testing.T) {
	for _, envoy := range envoys(t) {
		for name, o := range cases(t) {
			for _, protocol := range []bootstrap.Protocol{bootstrap.Delta, bootstrap.SOTW} {
				t.Run(fmt.Sprintf("%s/%s/%s", filepath.Base(filepath.Dir(envoy)), name, protocol), func(t *testing.T) {
					t.Parallel()
					o.Protocol = protocol
					validate(t, envoy, o)
				})
			}
		}
	}
}

func validate(t *testing.T, envoy string, o bootstrap.Options) {
	dir := t.TempDir()
	if o.TLS != nil {
		tls := *o.TLS
		for at, file := range map[*string]string{&tls.CA: "ca.pem", &tls.Cert: "cert.pem", &tls.Key: "key.pem"} {
			if *at != "" {
				*at = filepath.Join(dir, file)
			}
		}
		selfSigned(t, dir)
		if tls.SecretsDir != "" {
			tls.SecretsDir = dir
			files, err := tls.Secrets()
			if err != nil {
				t.Fatal(err)
			}
			for name, content := range files {
				write(t, filepath.Join(dir, name), content)
			}
		}
		o.TLS = &tls
	}
	config, err := bootstrap.Render(o)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "bootstrap.yaml")
	write(t, path, config)
	out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "-c", path, "--use-dynamic-base-id", "-l", "warning").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "OK") || strings.Contains(string(out), "eprecated") {
		t.Errorf("%v\n%s\n%s", err, out, config)
	}
}

// selfSigned writes a self-signed certificate, its key, and itself as the CA.
func selfSigned(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"edge-1"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	write(t, filepath.Join(dir, "ca.pem"), certPEM)
	write(t, filepath.Join(dir, "cert.pem"), certPEM)
	write(t, filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}))
}

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// envoys returns the Envoys to test with.
func envoys(t *testing.T) []string {
	t.Helper()
	if path := os.Getenv("ENVOY"); path != "" {
		return []string{path}
	}
	if found, _ := filepath.Glob("../.tools/envoy-*/envoy"); len(found) > 0 {
		for i := range found {
			found[i], _ = filepath.Abs(found[i])
		}
		return found
	}
	if path, err := exec.LookPath("envoy"); err == nil {
		return []string{path}
	}
	t.Fatal("no Envoy here: run `make tools`, or set ENVOY=/path/to/envoy")
	return nil
}

// TestOrder checks that an Envoy always uses the same order of replicas, which
// differs between Envoys, so that those of a replica that stops are spread over
// the others.
func TestOrder(t *testing.T) {
	first, next := regexp.MustCompile(`address: (10\.0\.0\.\d)`), map[string]int{}
	for i := range 600 {
		o := bootstrap.Options{Node: definition.Node{ID: fmt.Sprint("edge-", i)}, XDSAddress: "10.0.0.1:1,10.0.0.2:1,10.0.0.3:1"}
		got, err := bootstrap.Render(o)
		if err != nil {
			t.Fatal(err)
		}
		var order []string
		for _, m := range first.FindAllStringSubmatch(string(got), -1) {
			order = append(order, m[1])
		}
		for j, from := range order {
			next[from+" "+order[(j+1)%len(order)]]++
		}
	}
	for way, n := range next {
		if n < 240 || n > 360 {
			t.Errorf("%s: %d of 600", way, n)
		}
	}
	if len(next) != 6 {
		t.Errorf("ways are %v", next)
	}
}
