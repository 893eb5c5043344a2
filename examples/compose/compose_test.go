//go:build compose

package compose

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestCompose has each compose file do what it promises, on one engine.
func TestCompose(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	e := startEngine(t)
	e.images(t, root)
	t.Run("directory", func(t *testing.T) { e.directory(t, root) })
	t.Run("etcd", func(t *testing.T) { e.etcd(t, root) })
}

// directory is docker-compose.yaml: up, a request that has passed the filter, a
// definition changed and one dropped in, down.
func (e *engine) directory(t *testing.T, root string) {
	p := e.up(t, root, "docker-compose.yaml", "examples/compose/envoy.yaml")
	envoy, admin := p.port(t, "envoy", "8080"), p.port(t, "xds-server", "19000")
	p.seen(t, envoy, "X-My-Custom-Header: hello world")

	changed := p.change(t, "hello world", "hello again")
	p.seen(t, envoy, "X-My-Custom-Header: hello again")

	second := strings.NewReplacer("name: hello", "name: second", "X-my-custom-header", "X-second").Replace(changed)
	p.drop(t, "second.yaml", second)
	p.seen(t, envoy, "X-Second: hello again")

	p.healthy(t, "xds-server")
	_, err := get(t.Context(), "http://"+admin+"/readyz")
	must(t, err)
}

// project is a compose file in a folder of its own.
type project struct {
	*engine
	file, definitions string
}

// up starts everything, until the end of the test.
func (e *engine) up(t *testing.T, root string, file string, beside ...string) *project {
	t.Helper()
	dir := t.TempDir()
	p := &project{engine: e, file: filepath.Join(dir, file), definitions: filepath.Join(dir, "examples", "compose", "definitions")}
	must(t, os.MkdirAll(filepath.Dir(p.definitions), 0o755))
	must(t, os.CopyFS(p.definitions, os.DirFS(filepath.Join(root, "examples", "compose", "definitions"))))
	for _, name := range append(beside, file) {
		b, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		to := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.WriteFile(to, b, 0o644))
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's is over
		if t.Failed() {
			logs, err := p.compose(ctx, "logs", "--tail=50")
			t.Log(logs, err)
		}
		if _, err := p.compose(ctx, "down", "--volumes", "--timeout=5"); err != nil {
			t.Error(err)
		}
	})
	_, err := p.compose(t.Context(), "up", "--detach", "--no-build")
	must(t, err)
	return p
}

// compose runs docker-compose. A second project and any ports do not disturb it.
func (p *project) compose(ctx context.Context, args ...string) (string, error) {
	project := []string{"--project-directory", filepath.Dir(p.file), "--file", p.file,
		"--project-name", fmt.Sprintf("wasmxds-test-%d", os.Getpid())}
	command := slices.Concat(p.command, project, args)
	return p.run(ctx, command[0], command[1:]...)
}

// port is where a service's port is published, on loopback.
func (p *project) port(t *testing.T, service, port string) string {
	t.Helper()
	address, err := p.compose(t.Context(), "port", service, port)
	must(t, err)
	address = strings.TrimSpace(address)
	if !strings.HasPrefix(address, "127.0.0.1:") {
		t.Errorf("%s is published at %s", service, address)
	}
	return address
}

// change changes the filter's definition, and returns what it then is.
func (p *project) change(t *testing.T, from, to string) string {
	t.Helper()
	hello, err := os.ReadFile(filepath.Join(p.definitions, "hello.yaml"))
	must(t, err)
	changed := strings.ReplaceAll(string(hello), from, to)
	if changed == string(hello) {
		t.Fatalf("%q is not in\n%s", from, hello)
	}
	p.drop(t, "hello.yaml", changed)
	return changed
}

// drop writes a definition beside its place and moves it there.
func (p *project) drop(t *testing.T, name, content string) {
	t.Helper()
	temporary := filepath.Join(p.definitions, "."+name)
	must(t, os.WriteFile(temporary, []byte(content), 0o644))
	must(t, os.Rename(temporary, filepath.Join(p.definitions, name)))
}

// seen waits until the upstream got a header.
func (p *project) seen(t *testing.T, address, header string) {
	t.Helper()
	err := every(t.Context(), time.Second, 2*time.Minute, func() error {
		got, err := get(t.Context(), "http://"+address+"/")
		if err == nil && !strings.Contains(got, header) {
			return fmt.Errorf("the upstream did not get %q but\n%s", header, got)
		}
		return err
	})
	must(t, err)
}

// healthy waits until the engine says so of a service of xds-server.
func (p *project) healthy(t *testing.T, service string) {
	t.Helper()
	id, err := p.compose(t.Context(), "ps", "--quiet", service)
	must(t, err)
	err = every(t.Context(), time.Second, 2*time.Minute, func() error {
		is, err := p.run(t.Context(), "docker", "inspect", "--format", "{{.State.Health.Status}} {{.Config.User}}", strings.TrimSpace(id))
		if err == nil && strings.TrimSpace(is) != "healthy 65532:65532" {
			return fmt.Errorf("the container is %s", is)
		}
		return err
	})
	must(t, err)
}

// every calls check at that interval until it returns nil, or for at most
// limit. (harness.Poll asks more often than a container engine should be.)
func every(ctx context.Context, interval, limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", limit, err)
		case <-time.After(interval):
		}
	}
}

func get(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
