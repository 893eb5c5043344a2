package module

import (
	"bufio"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"wasmxds/files"
)

const secret = "hunter2-hunter2"

// TestNothingFetchedIsTold checks that messages reveal nothing of an origin's
// response.
func TestNothingFetchedIsTold(t *testing.T) {
	raw := func(answer string) func(*testing.T) string {
		return func(t *testing.T) string { return answers(t, answer) }
	}
	body := func(content string) func(*testing.T) string {
		return raw(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(content), content))
	}
	for name, origin := range map[string]func(*testing.T) string{
		"text":                body(secret),
		"bytes":               body("\x80\x01" + secret),
		"JSON":                body(`{"token": "` + secret + `"}`),
		"HTML":                body("<html>" + secret),
		"half a module":       body("\x00as"),
		"module of an ABI":    body(string(wasm("1", "proxy_abi_version_"+secret))),
		"error's body":        raw("HTTP/1.1 500 no\r\nContent-Length: 15\r\n\r\n" + secret),
		"status' reason":      raw("HTTP/1.1 403 " + secret + "\r\nContent-Length: 0\r\n\r\n"),
		"no HTTP":             raw("SSH-2.0-" + secret + "\r\n"),
		"no HTTP at all":      raw(secret + "\r\n\r\n"),
		"header without name": raw("HTTP/1.1 200 OK\r\n" + secret + "\r\n\r\n"),
		"status that is none": raw("HTTP/1.1 " + secret + "\r\n\r\n"),
		"version":             raw("HTTP/" + secret + " 200 OK\r\n\r\n"),
		"length":              raw("HTTP/1.1 200 OK\r\nContent-Length: " + secret + "\r\n\r\n"),
		"transfer encoding":   raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: " + secret + "\r\n\r\n"),
		"chunks":              raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + secret + "\r\n"),
		"redirect":            raw("HTTP/1.1 302 Found\r\nLocation: gopher://" + secret + "/\r\nContent-Length: 0\r\n\r\n"),
		"redirect to nowhere": raw("HTTP/1.1 302 Found\r\nLocation: http://%zz" + secret + "\r\nContent-Length: 0\r\n\r\n"),
		"redirect with query": raw("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/?token=" + secret + "\r\nContent-Length: 0\r\n\r\n"),
		"URL's password":      func(*testing.T) string { return "http://me:" + secret + "@127.0.0.1:1/a.wasm" },
		"URL's user":          func(*testing.T) string { return "http://" + secret + "@127.0.0.1:1/a.wasm" },
		"URL's query":         func(*testing.T) string { return "http://127.0.0.1:1/a.wasm?X-Amz-Signature=" + secret },
		"URL's fragment":      func(*testing.T) string { return "http://127.0.0.1:1/a.wasm#" + secret },
		"URL of no scheme":    func(*testing.T) string { return "ftp://me:" + secret + "@127.0.0.1:1/a.wasm?a=" + secret },
		"URL that is none":    func(*testing.T) string { return "http://me:" + secret + "@127.0.0.1:x/%zz" },
		"metadata":            func(*testing.T) string { return "http://me:" + secret + "@169.254.169.254/?a=" + secret },
	} {
		t.Run(name, func(t *testing.T) {
			var told strings.Builder
			r := resolve(t, Options{Logger: slog.New(slog.NewTextHandler(&told, nil))})
			url := origin(t)
			r.set(wanted("hello", url))
			got := r.until(Failed, nil)
			r.stop()
			all := got.Reason + fmt.Sprint(r.last.Problems) + told.String()
			if got.Reason == "" || strings.Contains(all, secret) {
				t.Errorf("told: %s", all)
			}
		})
	}
}

// answers serves the same bytes on each connection, whatever is requested.
func answers(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = c.Write([]byte(answer))
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return "http://" + l.Addr().String() + "/a.wasm"
}

// TestFilesOutside checks that modules are read only below the roots, and that
// messages reveal nothing of other files, or of files that are not modules.
func TestFilesOutside(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, content := range map[string][]byte{
		"defs/token": []byte(secret), "defs/good.wasm": filter("1"), "shared/more.wasm": filter("2"), "other/key": []byte(secret), "other/good.wasm": filter("3"),
	} {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"defs/out.wasm": "../other/good.wasm", "defs/more.wasm": at("shared/more.wasm"), "defs/etc": "/etc"} {
		if err := os.Symlink(target, at(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("defs/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	roots, err := files.NewRoots(at("defs"), at("shared"))
	if err != nil {
		t.Fatal(err)
	}
	const outside = "outside of"
	for path, want := range map[string]string{
		at("defs/good.wasm"): "", at("defs/more.wasm"): "", at("shared/more.wasm"): "",
		at("defs/token"): "is text, not a Wasm module", at("defs/pipe"): "not a regular file", at("defs"): "not a regular file",
		at("defs/gone"): "no such file", at("defs/out.wasm"): outside, at("other/key"): outside, at("other/good.wasm"): outside, at("other/gone"): outside,
		at("defs/../other/key"): outside, at("defs/etc/shadow"): outside, at("defs/etc/gone"): outside, "/etc/shadow": outside, "/proc/self/environ": outside,
		"/proc/kcore": outside, "/dev/zero": outside, "/no/such/file": outside,
	} {
		r := resolve(t, Options{Policy: Policy{Roots: &roots}})
		r.set(wanted("hello", "file://"+path))
		got := r.next(func(s *Set) bool { return s.Filters[0].State != Fetching }).Filters[0]
		r.stop()
		switch {
		case want == "" && got.State != Good, want != "" && got.State != Failed, !strings.Contains(got.Reason, want):
			t.Errorf("%s: %s: %s, want %q", path, got.State, got.Reason, want)
		case strings.Contains(got.Reason, secret[:4]):
			t.Errorf("%s: told %s", path, got.Reason)
		}
	}
}
