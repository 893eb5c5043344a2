package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"wasmxds/e2e/wasmtest"
)

// buildServer builds xds-server and gives its path.
func buildServer(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "xds-server")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "wasmxds/cmd/xds-server").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build xds-server: %w\n%s", err, out)
	}
	return path, nil
}

// ours starts xds-server as anyone would, on ports that are free.
func ours(program string, args ...string) startFunc {
	return func(ctx context.Context, r run, dir string) (*subject, error) {
		definitions := filepath.Join(dir, "definitions")
		if err := os.MkdirAll(definitions, 0o755); err != nil {
			return nil, err
		}
		d := directory{definitions}
		for _, file := range []string{moduleFile, ownModuleFile} {
			if err := d.build(file, 1, 0); err != nil {
				return nil, err
			}
		}
		if err := d.write("web.yaml", webListener); err != nil {
			return nil, err
		}
		if strings.HasSuffix(r.Server, rolledOut) {
			if err := d.write("rollout.yaml", everybodyAtOnce); err != nil {
				return nil, err
			}
		}
		if err := d.change(1, allFilters()); err != nil {
			return nil, err
		}
		return startOurs(ctx, program, args, r, dir, definitions, d)
	}
}

func startOurs(ctx context.Context, program string, more []string, r run, dir, definitions string, d directory) (*subject, error) {
	file := filepath.Join(dir, "addresses.json")
	args := append([]string{"serve", "--definitions", definitions, "--data", filepath.Join(dir, "data"), "--addresses-file", file,
		"--xds-listen", "127.0.0.1:0", "--modules-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--pprof", "--module-root", dir,
		// The default is half of the open files, which may be fewer than the Envoys.
		"--max-connections", strconv.Itoa(r.Clients + r.Clients/4 + 2000)}, more...)
	if r.TLS {
		args = append(args, r.keys.flags()...)
	}
	p, err := start(ctx, filepath.Join(dir, "xds-server.log"), nil, program, args...)
	if err != nil {
		return nil, err
	}
	var at struct{ XDS, Admin string }
	err = poll(ctx, 20*time.Second, func() error {
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &at)
		}
		if err != nil {
			return err
		}
		return get("http://" + at.Admin + "/readyz")
	})
	if err != nil {
		_ = p.stop()
		return nil, fmt.Errorf("xds-server isn't ready: %w (see %s)", err, p.log)
	}
	return &subject{name: r.Server, address: at.XDS, process: p, admin: at.Admin, change: d.change, module: d.module, route: d.route}, nil
}

func get(url string) error {
	answer, err := http.Get(url)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return nil
}

// poll calls check until it is content.
func poll(ctx context.Context, timeout time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// rolledOut is what the names of servers end with whose changes have a Rollout. It
// has one wave, of all, so that the same is to be done as without it.
const (
	rolledOut       = "-rollout"
	everybodyAtOnce = "kind: Rollout\nname: all\nwaves: [100%]\nbake: 0s\n"
)

const webListener = `kind: Listener
name: web
address: 127.0.0.1:8080
routes:
- {prefix: /, upstream: "127.0.0.1:9000"}
`

// The route that has a filter with another configuration, and the number of that filter.
const (
	routePrefix = "/other"
	routeFilter = 1
)

// directory is one of definitions; its files are replaced whole.
type directory struct{ path string }

// write replaces a file in one step, as fast as it goes: how long a disk takes to
// be sure of twenty files is not what is measured.
func (d directory) write(name, content string) error {
	temporary := filepath.Join(d.path, "."+name)
	if err := os.WriteFile(temporary, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, filepath.Join(d.path, name))
}

// route gives a filter another configuration on one route of the listener.
func (d directory) route(revision int) error {
	return d.write("web.yaml", webListener+fmt.Sprintf("- {prefix: %s, upstream: \"127.0.0.1:9000\", filters: {%s: {config: %q}}}\n",
		routePrefix, filterName(routeFilter), config(routeFilter, revision)))
}

func (d directory) change(revision int, filters []int) error {
	for _, i := range filters {
		if err := d.write(filterName(i)+".yaml", d.filter(i, config(i, revision))); err != nil {
			return err
		}
	}
	return nil
}

// The module of the first filter, and that of all others.
const (
	ownModuleFile = "own.wasm"
	moduleFile    = "filter.wasm"
)

func (directory) filter(i int, config string) string {
	module := moduleFile
	if i == 0 {
		module = ownModuleFile
	}
	return fmt.Sprintf("kind: WasmFilter\nname: %s\nmodule: {url: ../%s}\norder: %d\nconfig: %q\n", filterName(i), module, i, config)
}

func (d directory) build(file string, revision, size int) error {
	m := wasmtest.Filter{Header: "x-bench", Value: fmt.Sprintf("%s, revision %d", file, revision), Size: size}
	return renameio.WriteFile(filepath.Join(d.path, "..", file), m.Module(), 0o644)
}

// module writes another module for the first filter, and a revision of it.
func (d directory) module(revision, size int) error {
	if err := d.build(ownModuleFile, revision, size); err != nil {
		return err
	}
	return d.change(revision, []int{0})
}
