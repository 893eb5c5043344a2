package harness_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"wasmxds/e2e/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func upstream(t *testing.T) *harness.Upstream {
	t.Helper()
	u, err := harness.StartUpstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := u.Close(); err != nil {
			t.Error(err)
		}
	})
	return u
}

func poll(t *testing.T, check func() error) {
	t.Helper()
	if err := harness.Poll(t.Context(), 5*time.Second, check); err != nil {
		t.Fatal(err)
	}
}

// A load must notice what the scenes are about.
func TestLoadCounts(t *testing.T) {
	u := upstream(t)
	l := harness.StartLoad(t.Context(), harness.LoadConfig{
		Address: u.Address(), Headers: []string{"x-there"}, Send: http.Header{"X-There": {"yes"}}})
	defer l.Stop()
	poll(t, func() error {
		_, err := l.Seen("x-there", "yes")
		return err
	})
	if c := l.Counts(); c.Bad() != 0 || c.Requests == 0 {
		t.Errorf("all is well: %v", c)
	}
	if l.LastSeen("x-there", "yes").IsZero() || !l.LastSeen("x-there", "no").IsZero() {
		t.Error("LastSeen is wrong")
	}

	missing := harness.StartLoad(t.Context(), harness.LoadConfig{Address: u.Address(), Headers: []string{"x-there"}})
	defer missing.Stop()
	poll(t, func() error { return counted(missing, func(c harness.Counts) int { return c.Unfiltered }) })

	o := origin(t)
	failing := harness.StartLoad(t.Context(), harness.LoadConfig{Address: o.Address()})
	defer failing.Stop()
	poll(t, func() error { return counted(failing, func(c harness.Counts) int { return c.Failed }) })

	p, err := harness.StartProxy(u.Address())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	refused := harness.StartLoad(t.Context(), harness.LoadConfig{Address: p.Address()})
	defer refused.Stop()
	poll(t, func() error { return counted(refused, func(c harness.Counts) int { return c.Refused }) })
}

func counted(l *harness.Load, number func(harness.Counts) int) error {
	if c := l.Counts(); number(c) == 0 {
		return errors.New(c.String())
	}
	return nil
}

func TestLoadNoticesACutAnswer(t *testing.T) {
	p, err := harness.StartProxy(upstream(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	l := harness.StartLoad(t.Context(), harness.LoadConfig{Address: p.Address(), Path: "/?stream=1000"})
	defer l.Stop()
	poll(t, func() error {
		p.Cut()
		return counted(l, func(c harness.Counts) int { return c.Failed })
	})
}

func origin(t *testing.T) *harness.Origin {
	t.Helper()
	o, err := harness.StartOrigin()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func TestOriginFaults(t *testing.T) {
	o := origin(t)
	url := o.Put("a.wasm", []byte("module"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	fetch := func() (int, string, error) {
		resp, err := client.Get(url)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b), err
	}
	if code, body, err := fetch(); code != 200 || body != "module" || err != nil {
		t.Errorf("no fault: %d %q %v", code, body, err)
	}
	o.Fail("a.wasm", harness.OriginFault{Status: 500})
	if code, _, _ := fetch(); code != 500 {
		t.Errorf("status: %d", code)
	}
	o.Fail("a.wasm", harness.OriginFault{Body: []byte("<html>")})
	if code, body, _ := fetch(); code != 200 || body != "<html>" {
		t.Errorf("body: %d %q", code, body)
	}
	o.Fail("a.wasm", harness.OriginFault{Truncate: 3})
	if _, body, err := fetch(); !errors.Is(err, io.ErrUnexpectedEOF) || body != "mod" {
		t.Errorf("truncate: %q %v", body, err)
	}
	o.Fail("a.wasm", harness.OriginFault{Hangup: true})
	if _, _, err := fetch(); err == nil {
		t.Error("hangup: an answer came")
	}
	o.Fail("a.wasm", harness.OriginFault{Delay: 50 * time.Millisecond})
	start := time.Now()
	if _, _, err := fetch(); err != nil || time.Since(start) < 50*time.Millisecond {
		t.Errorf("delay: %v after %v", err, time.Since(start))
	}
	o.Fail("a.wasm", harness.OriginFault{})
	if _, body, err := fetch(); body != "module" || err != nil || o.Hits("a.wasm") != 7 {
		t.Errorf("mended: %q %v, %d hits", body, err, o.Hits("a.wasm"))
	}
}

func TestProxy(t *testing.T) {
	p, err := harness.StartProxy(upstream(t).Address())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		_, err := harness.Request(t.Context(), client, "http://"+p.Address(), nil)
		return err
	}
	if err := get(); err != nil {
		t.Error(err)
	}
	p.Down()
	if err := get(); err == nil {
		t.Error("it is down and lets a request through")
	}
	p.Up()
	p.Delay(30*time.Millisecond, 20*time.Millisecond)
	start := time.Now()
	if err := get(); err != nil || time.Since(start) < 50*time.Millisecond {
		t.Errorf("delay: %v after %v", err, time.Since(start))
	}
}

func TestEnvoysAreAskedFor(t *testing.T) {
	t.Setenv("ENVOY", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := harness.Envoys(t.Context(), t.TempDir()); !errors.Is(err, harness.ErrNoEnvoy) {
		t.Errorf("got %v", err)
	}
	t.Setenv("ENVOY", os.Args[0])
	if _, err := harness.Envoys(t.Context(), t.TempDir()); err == nil {
		t.Error("the test's own binary passes for Envoy")
	}
}
