package oci

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wasmxds/module"
)

// TestNothingFetchedIsTold checks that errors reveal nothing of a registry's
// response.
func TestNothingFetchedIsTold(t *testing.T) {
	const secret = "hunter2-hunter2"
	answer := func(status int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	manifest := func(body string) http.HandlerFunc {
		return answer(200, body, "Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	for name, registry := range map[string]func(host string) http.Handler{
		"error's body": func(string) http.Handler { return answer(500, secret) },
		"error's message": func(string) http.Handler {
			return answer(403, `{"errors": [{"code": "DENIED", "message": "`+secret+`"}]}`)
		},
		"error's detail": func(string) http.Handler {
			return answer(404, `{"errors": [{"code": "NAME_UNKNOWN", "detail": {"a": "`+secret+`"}}]}`)
		},
		"error's code":         func(string) http.Handler { return answer(404, `{"errors": [{"code": "`+secret+`"}]}`) },
		"challenge":            func(string) http.Handler { return answer(401, "", "WWW-Authenticate", secret+` realm="`+secret+`"`) },
		"manifest that's none": func(string) http.Handler { return manifest(secret) },
		"manifest's type": func(string) http.Handler {
			return answer(200, "{}", "Content-Type", "application/"+secret)
		},
		"manifest's digest": func(string) http.Handler { return answer(200, "{}", "Docker-Content-Digest", secret) },
		"layer's type":      func(string) http.Handler { return manifest(`{"layers": [{"mediaType": "` + secret + `"}]}`) },
		"layer's digest": func(string) http.Handler {
			return manifest(`{"layers": [{"mediaType": "application/wasm", "digest": "` + secret + `"}]}`)
		},
		"number": func(string) http.Handler { return manifest(`{"schemaVersion": "` + secret + `"}`) },
		"redirect": func(string) http.Handler {
			return answer(302, "", "Location", "http://127.0.0.1:1/?token="+secret)
		},
		"redirect to metadata": func(string) http.Handler { return answer(302, "", "Location", "http://169.254.169.254/"+secret) },
		"token": func(host string) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/token", answer(200, `{"key": "`+secret+`"}`))
			mux.Handle("/", answer(401, "", "WWW-Authenticate", `Bearer realm="http://`+host+`/token",service="`+secret+`"`))
			return mux
		},
		"token's error": func(host string) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/token", answer(403, secret))
			mux.Handle("/", answer(401, "", "WWW-Authenticate", `Bearer realm="http://`+host+`/token",service="s"`))
			return mux
		},
		"realm": func(string) http.Handler {
			return answer(401, "", "WWW-Authenticate", `Bearer realm="gopher://`+secret+`/token",service="s"`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var now http.Handler
			h := newHub(t, false, func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { now.ServeHTTP(w, r) })
			})
			now = registry(h.host)
			_, _, err := get(t.Context(), newFetcher(t, Options{}), module.Request{URL: "oci://" + h.host + "/a:b"})
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("told: %v", err)
			}
		})
	}
	_, err := Parse("oci://me:" + secret + "@ghcr.io/a?b=" + secret)
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("told: %v", err)
	}
}

// TestPullSecretElsewhere checks that paths outside the folder of secrets, and
// anything but a regular file, are neither read nor waited for.
func TestPullSecretElsewhere(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, "secrets", name) }
	good := `{"auths": {}}`
	for _, name := range []string{at("..v1/.dockerconfigjson"), at("good"), filepath.Join(dir, "outside.json")} {
		must(t, os.MkdirAll(filepath.Dir(name), 0o700))
		must(t, os.WriteFile(name, []byte(good), 0o600))
	}
	must(t, os.MkdirAll(at("mounted"), 0o700))
	must(t, os.Symlink("../..v1", at("mounted/..data")))
	must(t, os.Symlink("..data/.dockerconfigjson", at("mounted/.dockerconfigjson")))
	must(t, os.Symlink("/dev/ptmx", at("device")))
	must(t, os.Symlink("../outside.json", at("link")))
	must(t, syscall.Mkfifo(at("pipe"), 0o600))
	must(t, os.WriteFile(at("large"), make([]byte, maxSecret+1), 0o600))
	in, without := newFetcher(t, Options{Secrets: at("")}), newFetcher(t, Options{})
	const outside = "outside the folder of pull secrets"
	for _, c := range []struct {
		f          *Fetcher
		name, want string
	}{
		{in, "good", ""}, {in, at("good"), ""}, {in, "mounted", ""},
		{in, "pipe", "not a regular file"}, {in, "large", "too large"},
		{in, "device", outside}, {in, "link", outside}, {in, "../outside", outside}, {in, "../gone", outside}, {in, "/etc/shadow", outside},
		{in, "/dev/ptmx", outside}, {in, "/no/such", outside}, {in, filepath.Join(dir, "outside.json"), outside},
		{without, "/dev/ptmx", "--pull-secrets"}, {without, "good", "--pull-secrets"}, {without, filepath.Join(dir, "outside.json"), "--pull-secrets"},
	} {
		done := make(chan error, 1)
		go func() { _, err := c.f.secret(t.Context(), c.name); done <- err }()
		select {
		case err := <-done:
			if c.want == "" != (err == nil) || err != nil && !strings.Contains(fmt.Sprintf("%+v", err)+hintOf(err), c.want) {
				t.Errorf("%s: %v, want %q", c.name, err, c.want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s: still waiting", c.name)
		}
	}
}

func hintOf(err error) string {
	if e, ok := err.(*module.ContentError); ok {
		return e.Hint
	}
	return ""
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
