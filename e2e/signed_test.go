package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"wasmxds/e2e/wasmtest"
	"wasmxds/module/signed/signedtest"
)

// TestSignedModules: of a tag that moves only what is signed reaches Envoys, by a key
// that a WasmFilter or a WasmPlugin names. What was good goes on meanwhile, and after a
// restart with the registry away.
func TestSignedModules(t *testing.T) {
	eachOnce(t, func(t *testing.T, c combination) {
		h := newHub(t)
		key, other := signedtest.NewKey(t), signedtest.NewKey(t)
		f := newFleet(t)
		transport := &http.Transport{}
		t.Cleanup(transport.CloseIdleConnections)
		publish := func(value string, by *signedtest.Key) {
			t.Helper()
			h.push("filters/hello:v1", wasmtest.Filter{Header: "x-hello", Value: value})
			ref, err := name.ParseReference(h.host+"/filters/hello:v1", name.Insecure)
			must(t, err)
			d, err := remote.Head(ref, remote.WithTransport(transport))
			must(t, err)
			if by != nil {
				signedtest.Push(t, transport, ref.Context().Name(), d.Digest.String(), by.Cosign(signedtest.Payload(d.Digest.String())))
			}
		}
		must(t, os.WriteFile(filepath.Join(f.definitions, "cosign.pub"), []byte(key.Public), 0o644))
		f.write("web.yaml", f.listener("web"))
		f.write("hello.yaml", fmt.Sprintf("kind: WasmFilter\nname: hello\nmodule:\n  url: oci://%s/filters/hello:v1\n  signed: {keys: [cosign.pub]}\n", h.host))
		f.write("plugin.yaml", fmt.Sprintf("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {name: plugin}\nspec:\n  url: oci://%s/filters/hello:v1\n  imagePullPolicy: Always\n  verificationKey: |\n    %s\n",
			h.host, strings.ReplaceAll(strings.TrimSpace(key.Public), "\n", "\n    ")))
		publish("signed", key)
		f.serveFrom(h)
		e := f.envoy(c, "edge-1")
		l := e.load("web", "x-hello")
		f.seen(l, e.Started, "x-hello", "signed")
		e.runs("hello")
		e.runs("plugin")
		status, err := f.server.Status(t.Context())
		must(t, err)
		for _, s := range status.Filters {
			if s.Signer != key.Signer() {
				t.Errorf("%s is signed by %q", s.Name, s.Signer)
			}
		}

		for value, by := range map[string]*signedtest.Key{"unsigned": nil, "of another": other} {
			publish(value, by)
			want := map[bool]string{true: "it has no signature", false: "none of its 1 signatures"}[by == nil]
			f.eventually(func() error {
				status, err := f.server.Status(t.Context())
				if err != nil {
					return err
				}
				for _, s := range status.Filters {
					if s.State != "failed" || !strings.Contains(s.Reason, want) {
						return fmt.Errorf("%s is %s: %q", s.Name, s.State, s.Reason)
					}
				}
				return nil
			})
		}
		publish("signed again", key)
		f.seen(l, e.Started, "x-hello", "signed again")
		e.runs("hello")

		h.close() // the registry
		f.restartServer()
		e.runs("hello")
		f.good(l)
		for _, value := range []string{"unsigned", "of another"} {
			if !l.LastSeen("x-hello", value).IsZero() {
				t.Errorf("the module %q ran", value)
			}
		}
	})
}
