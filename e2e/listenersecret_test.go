package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// TestListenerSecret: a listener's certificate is a Secret of a cluster. A renewed one
// is shown to who connects, at once; connections that are open stay, and no request
// fails.
func TestListenerSecret(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		k := newObjects(t)
		a := newAuthority(t, "ours")
		secret := func(name string) time.Time {
			cert, key := a.issue(t, name)
			text := func(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
			return k.apply(fmt.Sprintf("{apiVersion: v1, kind: Secret, metadata: {name: web-tls, namespace: shop}, type: kubernetes.io/tls, data: {tls.crt: %s, tls.key: %s}}",
				text(cert), text(key)))
		}
		secret("first")
		k.apply(fmt.Sprintf("{apiVersion: wasmxds.dev/v1alpha1, kind: Listener, metadata: {name: web, namespace: shop}, spec: {address: '127.0.0.1:0', tls: {secret: web-tls}, routes: [{prefix: /, upstream: %q}]}}\n",
			k.upstream.Address()) + k.filter("shop", "auth", "1"))
		k.serve("--kubernetes", "--kubeconfig", k.cluster.Kubeconfig("admin"), "--root-namespace", "root")
		e := k.envoy(c, "shop-1", "--node-namespace", "shop")
		address := e.address("shop.web")
		shows := func(want string) {
			t.Helper()
			k.eventually(func() error {
				name, _, _, err := shown(t.Context(), tlsClient(t, a, false), address, "x-auth", "1")
				if err == nil && name != want {
					err = fmt.Errorf("it shows %s", name)
				}
				return err
			})
		}
		shows("first")
		kept := map[string]*http.Client{"HTTP/1.1": tlsClient(t, a, false), "HTTP/2": tlsClient(t, a, true)}
		goOn := func(reused bool) {
			t.Helper()
			for what, client := range kept {
				name, _, again, err := shown(t.Context(), client, address, "x-auth", "1")
				if err == nil && (name != "first" || again != reused) {
					err = errors.New("the connection is another, with the certificate of " + name)
				}
				if err != nil {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		goOn(false)
		took := func(began time.Time, want string) {
			t.Helper()
			shows(want)
			t.Logf("a Secret is shown after %v", time.Since(began).Round(time.Millisecond))
		}
		took(secret("second"), "second")
		goOn(true)
		took(secret("third"), "third")
		goOn(true)
	})
}
