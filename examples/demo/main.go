// Command demo shows xds-server at work, on this machine and in half a minute:
// an upstream, xds-server and Envoy are started, a request passes a filter, the
// filter's definition is rewritten, and the next requests show it. Then there are
// three Envoys, and a version of the filter that crashes reaches one of them.
//
// It is run by `make demo`, which builds what it needs. All that it starts it
// ends, and all its files are in a temporary folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"wasmxds/e2e/harness"
)

const (
	header   = "X-My-Custom-Header"
	listener = `kind: Listener
name: web
address: 127.0.0.1:0     # a free port; you will want one that stays
routes:
- {prefix: /, upstream: "%s"}
`
	filter = `kind: WasmFilter
name: hello
module: {url: %s}
config: {header: X-my-custom-header, value: %s}
`
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := demo(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context) (err error) {
	root, err := harness.Root()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "wasmxds-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	definitions := filepath.Join(dir, "definitions")
	if err := os.Mkdir(definitions, 0o755); err != nil {
		return err
	}

	upstream, err := harness.StartUpstream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, upstream.Close()) }()
	say("an upstream, which shows the headers it gets: http://%s", upstream.Address())

	module := filepath.Join(root, "bin", "filters", "header.wasm")
	if err := write(definitions, "web.yaml", fmt.Sprintf(listener, upstream.Address())); err != nil {
		return err
	}
	if err := write(definitions, "hello.yaml", fmt.Sprintf(filter, module, "hello world")); err != nil {
		return err
	}

	server, err := harness.StartServer(ctx, harness.ServerConfig{
		Program: filepath.Join(root, "bin", "xds-server"), Dir: dir,
		Definitions: definitions, Data: filepath.Join(dir, "data"), Args: []string{"--module-root", filepath.Dir(module)}})
	if err != nil {
		return err
	}
	defer server.Kill()
	say("xds-server, which watches that directory: http://%s", server.Addresses.Admin)

	envoy, address, err := start(ctx, root, dir, server, "edge-1")
	if err != nil {
		return err
	}
	defer envoy.Kill()
	value, err := change(ctx, server, definitions, module, address)
	if err != nil {
		return err
	}

	addresses := map[string]string{"edge-1": address}
	for _, id := range []string{"edge-2", "edge-3"} {
		other, at, err := start(ctx, root, dir, server, id)
		if err != nil {
			return err
		}
		defer other.Kill()
		addresses[id] = at
	}
	r := rolling{server: server, definitions: definitions, module: module, value: value, addresses: addresses}
	if err := r.show(ctx); err != nil {
		return err
	}
	say("all is ended again")
	return nil
}

// change is the first part: a definition is rewritten, and requests show it. It
// gives the value that the header has then.
func change(ctx context.Context, server *harness.Server, definitions, module, address string) (value string, err error) {
	if _, err := request(ctx, address, "hello world"); err != nil {
		return "", err
	}
	say("a request:\n\n  $ curl http://%s\n  %s: hello world\n", address, header)

	value = "hello again at " + time.Now().Format("15:04:05")
	if err := write(definitions, "hello.yaml", fmt.Sprintf(filter, module, value)); err != nil {
		return "", err
	}
	written := time.Now()
	asked, err := request(ctx, address, value)
	if err != nil {
		return "", err
	}
	say("the new header came %d ms after the file was written (%d requests meanwhile, none without a header):\n\n  $ curl http://%s\n  %s: %s\n",
		time.Since(written).Milliseconds(), asked, address, header, value)

	table, err := server.Run(ctx, "status", "--admin", "http://"+server.Addresses.Admin)
	if err != nil {
		return "", err
	}
	say("what runs where:\n\n  $ xds-server status\n%s", indent(string(table)))
	return value, nil
}

// start starts the newest Envoy and returns it, ready, with its listener's
// address.
func start(ctx context.Context, root, dir string, server *harness.Server, id string) (*harness.Envoy, string, error) {
	binaries, err := harness.Envoys(ctx, root)
	if err != nil {
		return nil, "", err
	}
	bootstrap, err := server.Bootstrap(ctx, id)
	if err != nil {
		return nil, "", err
	}
	newest := binaries[len(binaries)-1]
	envoy, err := harness.StartEnvoy(ctx, harness.EnvoyConfig{
		Binary: newest, Dir: filepath.Join(dir, id), Bootstrap: bootstrap})
	if err != nil {
		return nil, "", err
	}
	var address string
	err = harness.Poll(ctx, time.Minute, func() (err error) {
		if err := envoy.Ready(ctx); err != nil {
			return err
		}
		address, err = envoy.Listener(ctx, "web")
		return err
	})
	if err != nil {
		envoy.Kill()
		return nil, "", err
	}
	say("%s, an Envoy %s, ready %d ms after its start: http://%s", id, newest.Version, time.Since(envoy.Started).Milliseconds(), address)
	return envoy, address, nil
}

// request asks until the header has this value, and returns how often it did.
// An answer without the header is an error.
func request(ctx context.Context, address, value string) (int, error) {
	client := &http.Client{}
	defer client.CloseIdleConnections()
	asked := 0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		headers, err := harness.Request(ctx, client, "http://"+address, nil)
		asked++
		switch {
		case err != nil:
			return asked, err
		case headers.Get(header) == "":
			return asked, errors.New("a request passed without its filter")
		case headers.Get(header) == value:
			return asked, nil
		}
	}
	return asked, fmt.Errorf("no request had the header %s: %s", header, value)
}

// write writes a definition and shows it.
func write(dir, name, content string) error {
	say("definitions/%s:\n\n%s", name, indent(content))
	return os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

func say(format string, args ...any) { fmt.Printf("● "+format+"\n", args...) }
