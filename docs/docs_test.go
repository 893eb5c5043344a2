// Package docs is the documentation by task. Its test does what the documents
// say: every command in them is run, and what they show as its output is what
// has to come.
package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wasmxds/e2e/harness"
	"wasmxds/exectest"
	"wasmxds/source/kube/kubetest"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "curl" {
		os.Exit(curl(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// documents are those with commands, in the order in which they are read.
func documents(t *testing.T, root string) []string {
	t.Helper()
	found := []string{"README.md", "CONTRIBUTING.md"}
	for _, pattern := range []string{"docs/*.md", "examples/README.md", "examples/kubernetes/*.md", "charts/*/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, file := range files {
			name, err := filepath.Rel(root, file)
			must(t, err)
			found = append(found, name)
		}
	}
	return found
}

// TestCommands runs every block of a document that is marked sh or console,
// top to bottom in one shell. Its working folder is like a fresh clone in which
// `make build filters tools` was run, with bin/ and Envoy on the PATH. A block
// is left out only after a comment like <!-- not run: it needs a cluster -->.
//
// A console block has commands behind "$ " and what they print. "…" stands for
// anything within a line, a line "…" for any lines. Where kubectl or helm is called there is a
// real API server, of a cluster that runs no pods. A command whose output is
// shown is run until that output comes, as somebody would who has just changed
// something; any other must end well the first time.
func TestCommands(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	tools := prepare(t, root)
	free := &freePorts{given: map[int]bool{}}
	for _, name := range documents(t, root) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(root, name))
			must(t, err)
			commands, err := parse(string(text))
			must(t, err)
			if len(commands) == 0 {
				return
			}
			s := newSession(t, root, tools, free)
			if slices.ContainsFunc(commands, reachesCluster) {
				s.cluster(kubetest.Start(t))
			}
			for _, c := range commands {
				if err := s.run(c); err != nil {
					t.Fatalf("%s:%d: %v", name, c.line, err)
				}
			}
		})
	}
}

// reachesCluster says whether a command needs a Kubernetes API server.
func reachesCluster(c command) bool {
	return strings.Contains(c.text, "kubectl ") || strings.Contains(c.text, "helm ")
}

// cluster has the session's user reach an API server.
func (s *session) cluster(server *kubetest.Server) {
	s.t.Helper()
	config, err := os.ReadFile(server.Kubeconfig("admin"))
	must(s.t, err)
	dir := filepath.Join(s.home, ".kube")
	must(s.t, os.MkdirAll(dir, 0o755))
	must(s.t, os.WriteFile(filepath.Join(dir, "config"), config, 0o600))
}

// bareEnvoy is the program itself, which $ENVOY names.
const bareEnvoy = "envoy-itself"

// prepare builds what the documents take for granted, into a folder for the
// PATH.
func prepare(t *testing.T, root string) string {
	t.Helper()
	ctx, dir := t.Context(), t.TempDir()
	_, err := harness.BuildServer(ctx, root, dir)
	must(t, err)
	filters := exec.CommandContext(ctx, "make", "-s", "-C", "filter", "OUT="+filepath.Join(dir, "filters"))
	filters.Dir = root
	if out, err := filters.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", filters, err, out)
	}
	envoys, err := harness.Envoys(ctx, root)
	must(t, err)
	// Many Envoys may run on this machine at once.
	envoy := fmt.Sprintf("#!/bin/sh\nexec '%s' --use-dynamic-base-id --concurrency 1 --log-level warning \"$@\"\n", envoys[len(envoys)-1].Path)
	must(t, os.WriteFile(filepath.Join(dir, "envoy"), []byte(envoy), 0o755))
	must(t, os.Symlink(envoys[len(envoys)-1].Path, filepath.Join(dir, bareEnvoy))) // try gives it these flags itself
	for _, name := range []string{"etcd", "kubectl", "helm"} {
		path, err := exectest.Find(name)
		must(t, err)
		must(t, os.Symlink(path, filepath.Join(dir, name)))
	}
	if _, err := exec.LookPath("curl"); err != nil {
		self, err := os.Executable()
		must(t, err)
		must(t, os.Symlink(self, filepath.Join(dir, "curl")))
	}
	return dir
}

// TestLinks finds links to files and headings that are not there, and names of
// make targets that the Makefile does not have.
func TestLinks(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	must(t, err)
	link := regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]*))?\)`)
	target := regexp.MustCompile("`make ([a-z][a-z0-9-]*)[^`]*`")
	for _, name := range append(documents(t, root), "CHANGELOG.md", "ARCHITECTURE.md") {
		text, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		for i, line := range strings.Split(string(text), "\n") {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				file := filepath.Join(root, filepath.Dir(name), m[1])
				if m[1] == "" {
					file = filepath.Join(root, name)
				}
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s:%d: a link to %s, which is not there", name, i+1, m[1])
				} else if m[2] != "" && !slices.Contains(anchors(t, file), m[2]) {
					t.Errorf("%s:%d: a link to %s#%s, and no such heading there", name, i+1, m[1], m[2])
				}
			}
			for _, m := range target.FindAllStringSubmatch(line, -1) {
				if !strings.Contains("\n"+string(makefile), "\n"+m[1]+":") {
					t.Errorf("%s:%d: make %s: there is no such target", name, i+1, m[1])
				}
			}
		}
	}
}

// anchors are what GitHub makes of a document's headings.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		words := regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		found = append(found, strings.ReplaceAll(words, " ", "-"))
	}
	return found
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
