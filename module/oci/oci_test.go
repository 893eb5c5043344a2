package oci

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"wasmxds/module"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const wasm = "\x00asm\x01\x00\x00\x00 a module, as far as a registry knows"

func newFetcher(t *testing.T, options Options) *Fetcher {
	t.Helper()
	if options.Keychain == nil {
		options.Keychain = authn.NewMultiKeychain() // not the user's
	}
	f := New(options)
	t.Cleanup(f.Close)
	return f
}

func get(ctx context.Context, f *Fetcher, request module.Request) (string, module.Validators, error) {
	response, err := f.Fetch(ctx, request)
	if err != nil || response.Body == nil {
		if response == nil {
			response = &module.Response{}
		}
		return "", response.Validators, err
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	return string(b), response.Validators, err
}

func TestFetch(t *testing.T) {
	base := layer(t, true, file{name: "etc/passwd", content: "x"})
	plugin := layer(t, true, file{name: "plugin.wasm", content: wasm})
	other := image(t, layer(t, true, file{name: "plugin.wasm", content: "other"}))
	many := make([]v1.Layer, maxLayers+1)
	for i := range many {
		many[i] = layer(t, false, file{name: fmt.Sprint(i)})
	}
	tests := []struct {
		name string
		what remote.Taggable
		err  string // contained; "": wasm
	}{
		{"artifact, wasm-to-oci", artifact(t, "application/vnd.wasm.content.layer.v1+wasm"), ""},
		{"artifact, module", artifact(t, "application/vnd.module.wasm.content.layer.v1+wasm"), ""},
		{"artifact, application/wasm", artifact(t, "application/wasm"), ""},
		{"artifact beside others", artifact(t, "application/json", "application/wasm"), ""},
		{"artifact with two", artifact(t, "application/wasm", "application/wasm"), "the artifact has 2 modules"},
		{"artifact without", raw(t, "application/json", "{}"), "it contains no module (its layers: application/json, text/plain; charset=utf-8)"},
		{"artifact, a client's default", raw(t, types.OCIUncompressedLayer, wasm), ""},
		{"artifact, default, packed type", raw(t, types.OCILayer, wasm), ""},
		{"artifact, packed", raw(t, types.OCILayer, packed(wasm)), ""},
		{"artifact, docker's type", raw(t, types.DockerLayer, packed(wasm)), ""},
		{"artifact, packed, of a type for Wasm", raw(t, "application/wasm", packed(wasm)), ""},
		{"artifact, archive of a type for Wasm", mutate.MediaType(typed(t, plugin, wasmTypes()[1]), types.OCIManifestSchema1), ""},
		{"artifact, octets", raw(t, "application/octet-stream", wasm), ""},
		{"artifact beside a text", raw(t, types.OCIUncompressedLayer, wasm, "# how to use it"), ""},
		{"artifact beside nothing", raw(t, types.OCIUncompressedLayer, "", wasm, ""), ""},
		{"artifact beside text and archive", raw(t, types.OCILayer, "# how", wasm), ""},
		{"artifact, two of a default type", raw(t, types.OCIUncompressedLayer, wasm, wasm+" "), "the artifact has 2 modules"},
		{"artifact, a page", raw(t, types.OCIUncompressedLayer, "<html>not found</html>"), "application/vnd.oci.image.layer.v1.tar, text/html; charset=utf-8)"},
		{"artifact, short text", raw(t, "application/wasm", "x"), "application/wasm, text/plain; charset=utf-8)"},
		{"artifact, nothing", raw(t, types.OCIUncompressedLayer, ""), "application/vnd.oci.image.layer.v1.tar, empty)"},
		{"artifact, no layer", raw(t, ""), "its layers: none"},
		{"artifact, bomb", raw(t, types.OCILayer, packed(wasm+strings.Repeat("\x00", 2<<20))), "too large to search"},
		{"artifact, bomb of text", raw(t, types.OCILayer, packed(strings.Repeat("a", 2<<20))), "too large to search"},
		{"image", image(t, base, plugin), ""},
		{"image, OCI", mutate.MediaType(image(t, base, plugin), types.OCIManifestSchema1), ""},
		{"image, below", image(t, plugin, base), ""},
		{"image, absolute name", image(t, layer(t, true, file{name: "/plugin.wasm", content: wasm})), ""},
		{"image, relative name", image(t, layer(t, true, file{name: "./plugin.wasm", content: wasm})), ""},
		{"image, not packed", image(t, layer(t, false, file{name: "plugin.wasm", content: wasm})), ""},
		{"image, removed", image(t, plugin, layer(t, true, file{name: ".wh.plugin.wasm"})), "remove /plugin.wasm"},
		{"image, elsewhere", image(t, layer(t, true, file{name: "a/plugin.wasm", content: wasm})), "it contains no module"},
		{"image, link", image(t, layer(t, true, file{name: "plugin.wasm", content: "/etc/passwd", link: true})), "not a regular file"},
		{"image, bomb", image(t, layer(t, true, file{name: "zeros", content: strings.Repeat("\x00", 2<<20)})), "too large to search"},
		{"image, many layers", image(t, many...), "has 129 layers"},
		{"index", mutate.AppendManifests(empty.Index,
			mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}},
			mutate.IndexAddendum{Add: image(t, plugin), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "wasip1", Architecture: "wasm"}}},
		), ""},
		{"index, attested", mutate.AppendManifests(empty.Index,
			mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "unknown", Architecture: "unknown"}}},
			mutate.IndexAddendum{Add: image(t, plugin), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "arm64"}}},
		), ""},
		{"index, empty", empty.Index, "the index has no image"},
	}
	h := newHub(t, false, nil)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFetcher(t, Options{MaxLayer: 1 << 20})
			url := h.push(t, fmt.Sprintf("filters/hello:v%d", i), test.what)
			got, _, err := get(t.Context(), f, module.Request{URL: url})
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), "fetch "+url) {
					t.Errorf("got %q, %v, want %q", got, err, test.err)
				}
				if _, ok := errors.AsType[*module.ContentError](err); !ok {
					t.Errorf("%v is no ContentError", err)
				}
				return
			}
			if err != nil || strings.TrimRight(got, " ") != wasm {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
}

func TestKnown(t *testing.T) {
	h := newHub(t, false, nil)
	f := newFetcher(t, Options{})
	url := h.push(t, "hello:v1", artifact(t, "application/wasm"))
	_, known, err := get(t.Context(), f, module.Request{URL: url})
	if err != nil || !strings.HasPrefix(known.ETag, "sha256:") {
		t.Fatalf("%+v, %v", known, err)
	}
	fetch := func(url string) *module.Response {
		t.Helper()
		response, err := f.Fetch(t.Context(), module.Request{URL: url, Known: known})
		if err != nil {
			t.Fatal(err)
		}
		if response.Body != nil {
			response.Body.Close()
		}
		return response
	}
	before := h.gets.Load()
	if response := fetch(url); response.Body != nil || response.Validators != known {
		t.Errorf("%+v", response)
	}
	if n := h.gets.Load() - before; n != 0 {
		t.Errorf("%d GETs for what is known", n)
	}
	h.push(t, "hello:v1", artifact(t, "application/json", "application/wasm")) // the tag moves
	if response := fetch(url); response.Body == nil {
		t.Error("the new content is not fetched")
	}
	digest := strings.TrimSuffix(url, ":v1") + "@" + known.ETag
	h.Close()
	if response := fetch(digest); response.Body != nil {
		t.Error("a known digest is fetched")
	}
}

func TestFailures(t *testing.T) {
	t.Run("unknown", func(t *testing.T) {
		h := newHub(t, false, nil)
		_, _, err := get(t.Context(), newFetcher(t, Options{}), module.Request{URL: "oci://" + h.host + "/a:b"})
		if err == nil || !strings.Contains(err.Error(), "MANIFEST_UNKNOWN") && !strings.Contains(err.Error(), "NAME_UNKNOWN") {
			t.Error(err)
		}
	})
	t.Run("blob changed", func(t *testing.T) {
		h := newHub(t, false, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					io.WriteString(w, strings.ToUpper(wasm))
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		url := h.push(t, "a:b", artifact(t, "application/wasm"))
		if got, _, err := get(t.Context(), newFetcher(t, Options{}), module.Request{URL: url}); err == nil {
			t.Errorf("got %q", got)
		}
	})
	t.Run("endless manifest", func(t *testing.T) {
		h := newHub(t, false, func(http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return
				}
				for r.Context().Err() == nil {
					if _, err := w.Write(make([]byte, 64<<10)); err != nil {
						return
					}
				}
			})
		})
		_, _, err := get(t.Context(), newFetcher(t, Options{}), module.Request{URL: "oci://" + h.host + "/a:b"})
		if err == nil || !strings.Contains(err.Error(), "too large") {
			t.Error(err)
		}
	})
	t.Run("redirect to metadata", func(t *testing.T) {
		h := newHub(t, false, func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusTemporaryRedirect)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		url := h.push(t, "a:b", artifact(t, "application/wasm"))
		_, _, err := get(t.Context(), newFetcher(t, Options{PlainHTTP: []string{"169.254.169.254"}}), module.Request{URL: url})
		if err == nil || !strings.Contains(err.Error(), "link-local") {
			t.Error(err)
		}
	})
	t.Run("plain http", func(t *testing.T) {
		f := newFetcher(t, Options{PlainHTTP: []string{"listed.example:5000", "anyport.example"}})
		for host, want := range map[string]bool{
			"listed.example:5000": true, "listed.example:5001": false, "anyport.example:1": true,
			"127.0.0.1:80": true, "[::1]:80": true, "localhost": true, "10.0.0.1:5000": false,
		} {
			if got := f.plain(host); got != want {
				t.Errorf("%s: %v", host, got)
			}
		}
		_, _, err := get(t.Context(), f, module.Request{URL: "oci://10.255.255.1:5000/a:b"})
		if err == nil {
			t.Error("fetched")
		}
		r := httptest.NewRequest("GET", "http://10.0.0.1/v2/", nil)
		if _, err := f.guarded.RoundTrip(r); err == nil || !strings.Contains(err.Error(), "must use HTTPS") {
			t.Error(err)
		}
	})
}

func TestPrivateCA(t *testing.T) {
	h := newHub(t, true, nil)
	url := h.push(t, "a:b", artifact(t, "application/wasm"))
	_, _, err := get(t.Context(), newFetcher(t, Options{}), module.Request{URL: url})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("without the CA: %v", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(h.Certificate())
	got, _, err := get(t.Context(), newFetcher(t, Options{Policy: module.Policy{RootCAs: pool}}), module.Request{URL: url})
	if err != nil || got != wasm {
		t.Errorf("with it: %q, %v", got, err)
	}
}

func TestPullSecret(t *testing.T) {
	h := newHub(t, false, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "me" || password != "se:cret" {
				w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	url := h.push(t, "a:b", artifact(t, "application/wasm"), remote.WithAuth(&authn.Basic{Username: "me", Password: "se:cret"}))
	dir := t.TempDir()
	write := func(path, content string) {
		t.Helper()
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := `{"auths": {"http://` + h.host + `/v1/": {"auth": "bWU6c2U6Y3JldA=="}}, "credsStore": "is-not-run"}`
	write("plain.json", good)
	write("mounted/.dockerconfigjson", good)
	write("elsewhere.json", `{"auths": {"other.example": {"auth": "bWU6c2U6Y3JldA=="}}}`)
	write("broken.json", `{"auths": {"x": {"auth": "se:cret"}}}`)
	write("text", "hush")
	f := newFetcher(t, Options{Secrets: dir})
	for secret, want := range map[string]string{
		"plain": "", "plain.json": "", "mounted": "", filepath.Join(dir, "plain.json"): "",
		"":          "401 Unauthorized",
		"elsewhere": "401 Unauthorized",
		"missing":   `pull secret "missing": there is no such file`,
		"broken":    `the auth of one of its registries is not base64`,
		"text":      "not JSON",
		"../x":      "outside the folder of pull secrets",
	} {
		got, _, err := get(t.Context(), f, module.Request{URL: url, PullSecret: secret})
		if want == "" && (err != nil || got != wasm) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %q, %v, want %q", secret, got, err, want)
		}
		if err != nil && (strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "se:cret")) {
			t.Errorf("%q: the error tells the secret: %v", secret, err)
		}
	}
}

// TestPullSecretFromElsewhere checks that a secret that is not a file is
// requested for each fetch, and may become available later.
func TestPullSecretFromElsewhere(t *testing.T) {
	h := newHub(t, false, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, password, _ := r.BasicAuth(); password != "new" {
				w.Header().Set("WWW-Authenticate", `Basic realm="hub"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	url := h.push(t, "a:b", artifact(t, "application/wasm"), remote.WithAuth(&authn.Basic{Username: "me", Password: "new"}))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file.json"), []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	password := ""
	elsewhere := func(_ context.Context, name string) ([]byte, error) {
		if password == "" {
			return nil, fmt.Errorf("Secret %s is not there", name)
		}
		return fmt.Appendf(nil, `{"auths": {%q: {"username": "me", "password": %q}}}`, h.host, password), nil
	}
	for _, secrets := range []string{"", dir} {
		f := newFetcher(t, Options{Secrets: secrets, Elsewhere: elsewhere})
		for _, c := range []struct{ password, name, want string }{
			{"", "shop/r", `pull secret "shop/r": Secret shop/r is not there`},
			{"old", "shop/r", "401 Unauthorized"},
			{"new", "shop/r", ""},
			{"new", "file", map[string]string{dir: "401 Unauthorized"}[secrets]},
		} {
			password = c.password
			got, _, err := get(t.Context(), f, module.Request{URL: url, PullSecret: c.name})
			if c.want == "" && (err != nil || got != wasm) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%+v: got %q, %v", c, got, err)
			}
			if _, content := errors.AsType[*module.ContentError](err); content && c.password == "" {
				t.Error("it would not be tried again")
			}
		}
	}
}

func TestParse(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	for url, want := range map[string]Reference{
		"oci://ghcr.io/a/b":                              {"ghcr.io", "a/b", "latest", ""},
		"oci://registry.example/a:v1.2_3":                {"registry.example", "a", "v1.2_3", ""},
		"oci://someone/a:v1.2_3":                         {"docker.io", "someone/a", "v1.2_3", ""},
		"oci://someone/a/b":                              {"docker.io", "someone/a/b", "latest", ""},
		"oci://a:5000@" + digest:                         {"docker.io", "library/a", "5000", digest},
		"oci://localhost/a":                              {"localhost", "a", "latest", ""},
		"oci://a:5000/b":                                 {"a:5000", "b", "latest", ""},
		"oci://index.docker.io/a":                        {"docker.io", "library/a", "latest", ""},
		"oci://localhost:5000":                           {},
		"oci://localhost:5000/a/b-c__d.e:x":              {"localhost:5000", "a/b-c__d.e", "x", ""},
		"oci://[::1]:5000/a@" + digest:                   {"[::1]:5000", "a", "", digest},
		"oci://r.example/a:v1@" + digest:                 {"r.example", "a", "v1", digest},
		"oci://docker.io/hello:1":                        {"docker.io", "library/hello", "1", ""},
		"https://ghcr.io/a":                              {},
		"oci://ghcr.io":                                  {},
		"oci:///a/b":                                     {},
		"oci://ghcr.io/A":                                {},
		"oci://ghcr.io/a:":                               {},
		"oci://ghcr.io/a@sha256:00":                      {},
		"oci://ghcr.io/../a":                             {},
		"oci://user:pass@ghcr.io/a":                      {},
		"oci://ghcr.io/a?x=y":                            {},
		"oci://ghcr.io/" + strings.Repeat("a", 300):      {},
		"oci://ghcr.io/a:" + strings.Repeat("a", 200):    {},
		"oci://ghcr.io/a@md5:" + strings.Repeat("0", 32): {},
	} {
		got, err := Parse(url)
		if got != want || (err == nil) != (want != Reference{}) {
			t.Errorf("%s: got %+v, %v", url, got, err)
		}
		if err != nil {
			continue
		}
		if _, err := got.remote(false); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestDockerHub checks that an image without a registry is fetched from
// Docker's default registry, with the credentials that docker login has stored.
func TestDockerHub(t *testing.T) {
	ref, err := Parse("oci://someone/filter:v1")
	if err != nil {
		t.Fatal(err)
	}
	target, err := ref.remote(false)
	if err != nil {
		t.Fatal(err)
	}
	registry := target.Context().Registry
	if registry.RegistryStr() != "index.docker.io" || target.Context().RepositoryStr() != "someone/filter" || registry.Scheme() != "https" {
		t.Errorf("%s, of %s", target, registry)
	}
	for _, key := range []string{"https://index.docker.io/v1/", "docker.io", "https://docker.io", "registry-1.docker.io", "index.docker.io"} {
		k, err := parseSecret([]byte(`{"auths": {"` + key + `": {"auth": "bWU6c2U6Y3JldA=="}}}`))
		if err != nil {
			t.Fatal(err)
		}
		auth, err := k.Resolve(registry)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := auth.Authorization(); err != nil || got.Username != "me" || got.Password != "se:cret" {
			t.Errorf("%s: %+v, %v", key, got, err)
		}
	}
	f := newFetcher(t, Options{Policy: module.Policy{Hosts: []string{"docker.io"}}})
	asked := &refuser{}
	f.guarded = &guard{f, f.options.Policy.CheckRequest(asked)}
	if _, _, err := get(t.Context(), f, module.Request{URL: "oci://someone/filter:v1"}); err == nil || !slices.Equal(asked.urls, []string{"https://index.docker.io/v2/"}) {
		t.Errorf("asked %q, %v", asked.urls, err)
	}
	secret, _ := parseSecret([]byte(`{"auths": {"someone": {"auth": "bWU6c2U6Y3JldA=="}}}`))
	if auth, _ := secret.Resolve(registry); auth != authn.Anonymous {
		t.Error("what is for a host of the user's name is sent to Docker Hub")
	}
}

// refuser rejects all requests, and records their URLs.
type refuser struct{ urls []string }

func (r *refuser) RoundTrip(request *http.Request) (*http.Response, error) {
	r.urls = append(r.urls, request.URL.String())
	return nil, errors.New("refused")
}

func FuzzParse(f *testing.F) {
	f.Add("oci://localhost:5000/a/b-c__d.e:x")
	f.Add("oci://a/b@sha256:" + strings.Repeat("0", 64))
	f.Fuzz(func(t *testing.T, raw string) {
		ref, err := Parse(raw)
		if err != nil {
			return
		}
		again, err := Parse(ref.String())
		if err != nil || again != ref {
			t.Fatalf("%q is %+v, and then %+v, %v", raw, ref, again, err)
		}
	})
}

func FuzzSecret(f *testing.F) {
	f.Add([]byte(`{"auths": {"https://a/v1/": {"auth": "YTpi"}}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := parseSecret(b)
		if err == nil {
			for host := range k {
				if strings.Contains(host, "/") {
					t.Fatalf("host %q", host)
				}
			}
		}
	})
}
