//go:build compose

package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"wasmxds/e2e/harness"
	"wasmxds/exectest"
)

// images sees to those of the compose files. They are built and pulled as a
// user's are; where nothing can be pulled, they are made of what is here:
// programs built by this Go, and the Envoy of `make tools`.
func (e *engine) images(t *testing.T, root string) {
	t.Helper()
	if e.has(t, golang(t, root)) {
		for image, target := range targets {
			e.build(t, image, root, "--target", target)
		}
		e.build(t, etcdImage, root, "--file", filepath.Join(root, etcdDockerfile), "--target", "etcd")
	} else {
		context := t.TempDir()
		build := exec.CommandContext(t.Context(), "make", "-s", "image", "OUT="+context)
		build.Dir = root
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("make image: %v\n%s", err, out)
		}
		for image, target := range targets {
			e.build(t, image, context, "--file", filepath.Join(root, "Dockerfile"), "--target", target+"-prebuilt")
		}
		e.buildEtcd(t, root)
	}
	image, version := envoyImage(t, root)
	if !e.has(t, image) {
		e.buildEnvoy(t, root, image, version)
	}
}

// targets are those of the Dockerfile, by the images of docker-compose.yaml.
var targets = map[string]string{
	"wasmxds/xds-server:dev": "xds-server",
	"wasmxds/upstream:dev":   "upstream",
}

const (
	etcdImage      = "wasmxds/etcd:dev"
	etcdDockerfile = "examples/compose-etcd/Dockerfile"
)

// buildEtcd makes the image of the etcd of `make tools`, which is one static file.
func (e *engine) buildEtcd(t *testing.T, root string) {
	t.Helper()
	context := t.TempDir()
	path, err := exectest.Find("etcd")
	must(t, err)
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(context, "etcd"), b, 0o755))
	must(t, os.Mkdir(filepath.Join(context, "data"), 0o755))
	e.build(t, etcdImage, context, "--file", filepath.Join(root, etcdDockerfile), "--target", "etcd-prebuilt")
}

// golang is the image that Dockerfile builds in.
func golang(t *testing.T, root string) string {
	return find(t, filepath.Join(root, "Dockerfile"), `FROM (golang:\S+) AS build`)[1]
}

// envoyImage is docker-compose.yaml's, with its version of Envoy.
func envoyImage(t *testing.T, root string) (image, version string) {
	found := find(t, filepath.Join(root, "docker-compose.yaml"), `image: (envoyproxy/envoy:v(\S+))`)
	return found[1], found[2]
}

func find(t *testing.T, path, pattern string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	found := regexp.MustCompile(pattern).FindStringSubmatch(string(b))
	if found == nil {
		t.Fatalf("%s has no %q", path, pattern)
	}
	return found
}

// buildEnvoy makes an image of Envoy and the libraries that it is linked with.
func (e *engine) buildEnvoy(t *testing.T, root, image, version string) {
	t.Helper()
	context := t.TempDir()
	add := func(from, to string) {
		b, err := os.ReadFile(from)
		must(t, err)
		to = filepath.Join(context, "root", to)
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.WriteFile(to, b, 0o755))
	}
	binary := envoy(t, root, version)
	add(binary, "/usr/local/bin/envoy")
	linked, err := e.run(t.Context(), "ldd", binary)
	must(t, err)
	libraries := regexp.MustCompile(`(/\S+) \(0x`).FindAllStringSubmatch(linked, -1)
	if len(libraries) == 0 {
		t.Fatalf("ldd %s:\n%s", binary, linked)
	}
	for _, library := range libraries {
		add(library[1], library[1])
	}
	dockerfile := "FROM scratch\nCOPY root /\nENTRYPOINT [\"/usr/local/bin/envoy\"]\n"
	must(t, os.WriteFile(filepath.Join(context, "Dockerfile"), []byte(dockerfile), 0o644))
	e.build(t, image, context)
}

// envoy is the one of `make tools` that has that version.
func envoy(t *testing.T, root, version string) string {
	t.Helper()
	binaries, err := harness.Envoys(t.Context(), root)
	must(t, err)
	for _, b := range binaries {
		if b.Version == version {
			return b.Path
		}
	}
	t.Fatalf("docker-compose.yaml wants Envoy %s, here is %v\nhint: make tools", version, binaries)
	return ""
}
