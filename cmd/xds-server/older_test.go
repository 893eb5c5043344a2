package main

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestOlderData starts with a data directory of before, and with definitions that
// can't be read: what was good goes on, and who was here is awaited. The next
// start finds the same.
func TestOlderData(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.CopyFS(data, os.DirFS("../../state/older/testdata/data")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		file := filepath.Join(dir, "addresses.json")
		_ = os.Remove(file)
		ctx, terminate := context.WithCancel(t.Context())
		ended := make(chan int, 1)
		go func() {
			ended <- run(ctx, []string{"serve", "--definitions", filepath.Join(dir, "nowhere"), "--data", data, "--addresses-file", file, "--drain", "0s",
				"--xds-listen", "127.0.0.1:0", "--modules-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, os.Environ(), io.Discard, io.Discard)
		}()
		r := &running{addresses: addressesIn(t, file), terminate: terminate, ended: ended}
		r.admin(t, "/readyz", http.StatusOK, "ready")
		r.admin(t, "/api/v1/status", http.StatusOK, "25f27bcfe2b3962579d18fd0425e08c29323764a04ca9ecfd79ed3781c5864c8")
		r.admin(t, "/api/v1/status", http.StatusOK, `"edge-1"`)
		r.admin(t, "/api/v1/status", http.StatusOK, `"edge-2"`)
		r.admin(t, "/api/v1/status", http.StatusOK, `"web"`)
		r.end(t)
	}
	if _, err := os.Stat(filepath.Join(data, "modules.json")); err == nil {
		t.Error("the older files are still there")
	}
}
