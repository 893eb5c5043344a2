package main

import (
	"io"
	"log"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/rogpeppe/go-internal/testscript"

	"wasmxds/e2e/wasmtest"
	"wasmxds/module/signed/signedtest"
)

// signedCommand is signed oci NAME KEY OTHER: it puts a module into a registry, signed
// by a key whose public part it writes to KEY, and sets $OCI to its URL. OTHER gets
// another public key.
func signedCommand(t *testing.T) func(*testscript.TestScript, bool, []string) {
	hub := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(hub.Close)
	host := hub.Listener.Addr().String()
	return func(ts *testscript.TestScript, _ bool, args []string) {
		const wasm = "application/wasm"
		module := wasmtest.Filter{Header: "x-test", Value: args[1]}.Module()
		image, err := mutate.Append(empty.Image, mutate.Addendum{Layer: static.NewLayer(module, wasm), MediaType: wasm})
		ts.Check(err)
		ref, err := name.ParseReference(host + "/filters/" + args[1] + ":v1")
		ts.Check(err)
		ts.Check(remote.Write(ref, image))
		digest, err := image.Digest()
		ts.Check(err)
		key := signedtest.NewKey(t)
		signedtest.Push(t, hub.Client().Transport, ref.Context().Name(), digest.String(), key.Cosign(signedtest.Payload(digest.String())))
		ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(key.Public), 0o644))
		ts.Check(os.WriteFile(ts.MkAbs(args[3]), []byte(signedtest.NewKey(t).Public), 0o644))
		ts.Setenv("OCI", "oci://"+ref.Name())
	}
}
