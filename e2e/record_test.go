package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

// TestRecord: all requests of an Envoy are recorded for a while, and no more; no listener
// changes for it, no connection is drained, and no secret leaves.
func TestRecord(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		f := newFleet(t)
		token := filepath.Join(t.TempDir(), "operate.token")
		must(t, os.WriteFile(token, []byte("0123456789abcdef0123"), 0o600))
		f.write("web.yaml", f.listener("web"))
		f.write("hello.yaml", filter("hello", f.module(wasmtest.Filter{Header: "x-hello", Value: "1"})))
		f.serve("--operate-token-file", token, "--record-headers", "x-tenant,authorization")
		e := f.envoy(c, "edge-1")
		// So slow that a recording has room for it, and for the requests that are looked for.
		l := harness.StartLoad(f.ctx, harness.LoadConfig{Address: e.address("web"), Headers: []string{"x-hello"}, Pause: 50 * time.Millisecond})
		t.Cleanup(func() { l.Stop() })
		f.seen(l, e.Started, "x-hello", "1")
		before, err := e.Stats(t.Context(), "listener_manager.*(added|modified|removed)|downstream_cx_drain_close")
		must(t, err)

		const marked = 50
		var recorded bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, xdsServer, "record", "--admin", "http://"+f.server.Addresses.Admin, "--admin-token-file", token,
			"--node", "edge-1", "--for", "6s", "--count", "1000", "-o", "har")
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &recorded, &said
		must(t, cmd.Start())
		defer func() { _ = cmd.Wait() }()
		f.eventually(func() error { // the Envoy tells of all requests
			out, err := exec.CommandContext(ctx, xdsServer, "status", "--admin", "http://"+f.server.Addresses.Admin).Output()
			if err == nil && (!bytes.Contains(out, []byte("has its requests recorded until")) || bytes.Contains(out, []byte(": 0 so far"))) {
				err = fmt.Errorf("the status says\n%s", out)
			}
			return err
		})
		address, err := e.Listener(ctx, "web")
		must(t, err)
		for i := range marked {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/marked/%d?token=hunter2", address, i), nil)
			must(t, err)
			req.Header.Set("Authorization", "Bearer hunter2")
			req.Header.Set("X-Tenant", "blue")
			req.Header.Set("Cookie", "session=hunter2")
			resp, err := http.DefaultClient.Do(req)
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatal(resp.Status)
			}
		}
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
		var got struct {
			Log struct {
				Entries []struct {
					Request struct {
						URL     string
						Headers []struct{ Name, Value string }
					}
				}
			}
		}
		must(t, json.Unmarshal(recorded.Bytes(), &got))
		found := map[string]bool{}
		for _, r := range got.Log.Entries {
			if strings.Contains(r.Request.URL, "/marked/") {
				found[r.Request.URL] = true
				if told := fmt.Sprint(r.Request.Headers); !strings.Contains(told, "{x-tenant blue}") || !strings.Contains(told, "{authorization masked}") || !strings.Contains(r.Request.URL, "token=masked") {
					t.Errorf("recorded %s %s", r.Request.URL, told)
				}
			}
		}
		if len(found) != marked {
			t.Errorf("%d of %d requests were recorded", len(found), marked)
		}
		if bytes.Contains(recorded.Bytes(), []byte("hunter2")) {
			t.Error("a secret was recorded")
		}
		t.Logf("%d requests recorded, %d of the %d marked", len(got.Log.Entries), len(found), marked)
		f.eventually(func() error { // it samples no more
			body, err := e.Get(ctx, "/runtime?format=json")
			if err == nil && strings.Contains(string(body), "1000000") {
				err = fmt.Errorf("its runtime is %s", body)
			}
			return err
		})
		after, err := e.Stats(t.Context(), "listener_manager.*(added|modified|removed)|downstream_cx_drain_close")
		must(t, err)
		if fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("listeners were %v, and are %v", before, after)
		}
		t.Log(f.good(l))
	})
}

// TestRecordByAny: any of several servers records an Envoy, whichever it is connected to.
func TestRecordByAny(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 1, countedPolicy)
		for i, s := range j.servers {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, xdsServer, "record", "--admin", "http://"+s.Addresses.Admin, "--admin-token-file", j.operator,
				"--node", "edge-1", "--for", "10m", "--count", "20", "-o", "har").Output()
			if n := bytes.Count(out, []byte(`"startedDateTime"`)); err != nil || n != 20 { // it ends as soon as there are enough
				t.Errorf("server %d recorded %d requests, %v", i, n, err)
			}
		}
		j.ends()
	})
}
