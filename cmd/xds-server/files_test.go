package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"wasmxds/admin"
	"wasmxds/e2e/wasmtest"
	"wasmxds/module"
)

// TestNotFiles: devices, named pipes and sockets by the names of pull secrets,
// modules and definitions hold nothing up, and the server ends as always.
func TestNotFiles(t *testing.T) {
	dir := t.TempDir()
	secrets := filepath.Join(dir, "secrets")
	must(t, os.Mkdir(secrets, 0o700))
	must(t, os.Symlink("/dev/ptmx", filepath.Join(secrets, "terminal")))
	must(t, syscall.Mkfifo(filepath.Join(secrets, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(secrets, "socket"))
	must(t, err)
	defer l.Close()
	var stuck []string
	for i := range 40 { // more than are fetched at once
		for _, secret := range []string{"/dev/ptmx", "terminal", "pipe", "socket"} {
			stuck = append(stuck, fmt.Sprintf("kind: WasmFilter\nname: stuck-%d-%s\nmodule: {url: \"oci://127.0.0.1:1/a/b:v%d\", pullSecret: %s}\n",
				i, filepath.Base(secret), i, secret))
		}
		for _, file := range []string{"/dev/ptmx", "/dev/zero", "pipe.wasm"} {
			stuck = append(stuck, fmt.Sprintf("kind: WasmFilter\nname: file-%d-%s\nmodule: {url: %q}\norder: %d\n", i, filepath.Base(file), file, i))
		}
	}
	r := startServe(t, map[string]string{"stuck.yaml": strings.Join(stuck, "---\n")}, "--pull-secrets", secrets)
	must(t, syscall.Mkfifo(filepath.Join(r.definitions, "pipe.wasm"), 0o600))
	must(t, syscall.Mkfifo(filepath.Join(r.definitions, "pipe.yaml"), 0o600))
	must(t, os.Symlink("/dev/ptmx", filepath.Join(r.definitions, "terminal.yaml")))
	r.admin(t, "/api/v1/status", http.StatusOK, "stuck-39-pipe")

	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(wasmtest.Filter{Header: "x", Value: "y"}.Module())
	}))
	defer origin.Close()
	r.write(t, "good.yaml", fmt.Sprintf("kind: WasmFilter\nname: honest\nmodule: {url: %q}\n", origin.URL+"/m.wasm"))
	must(t, poll(time.Minute, func() error {
		status, err := r.status()
		if err != nil {
			return err
		}
		for _, f := range status.Filters {
			if f.Name == "honest" && f.State == module.Good {
				return nil
			}
		}
		return fmt.Errorf("honest is not there: %d filters, %d problems", len(status.Filters), len(status.Definitions.Errors))
	}))
	r.end(t)
}

func (r *running) status() (*admin.Status, error) {
	resp, err := http.Get("http://" + r.Admin + "/api/v1/status")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var status admin.Status
	return &status, json.NewDecoder(resp.Body).Decode(&status)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
