package envoy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Binary is an Envoy executable.
type Binary struct{ Path, Version string }

// ErrNone is returned if there is no Envoy.
var ErrNone = errors.New("there is no Envoy here: give its path, set ENVOY=/path/to/envoy, or put envoy into PATH; " +
	"https://www.envoyproxy.io/docs/envoy/latest/start/install says how to install one")

// Find returns the Envoy at the given path. Without a path, it returns the one that $ENVOY
// names, the newest in .tools of the working directory, or the one on PATH, in this order.
func Find(ctx context.Context, path string) (Binary, error) {
	if path == "" {
		path = os.Getenv("ENVOY")
	}
	if path == "" {
		path = newest(".tools")
	}
	if path == "" {
		var err error
		if path, err = exec.LookPath("envoy"); err != nil {
			return Binary{}, ErrNone
		}
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return Binary{}, err
	}
	if info, err := os.Stat(absolute); err != nil {
		return Binary{}, err
	} else if info.IsDir() {
		return Binary{}, fmt.Errorf("%s is a directory: give the program itself", path)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, absolute, "--version")
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return Binary{}, fmt.Errorf("%s --version: %w", path, err)
	}
	version := versionLine.FindSubmatch(out)
	if version == nil {
		return Binary{}, fmt.Errorf("%s is not Envoy: --version says %.80q", path, out)
	}
	return Binary{Path: absolute, Version: string(version[1])}, nil
}

// versionLine matches the output of envoy --version, which contains a commit, the version,
// and more.
var versionLine = regexp.MustCompile(`/(\d+\.\d+\.\d+)[^/]*/`)

// newest returns the Envoy with the highest version in a folder.
func newest(dir string) (path string) {
	found, _ := filepath.Glob(filepath.Join(dir, "envoy-*", "envoy"))
	var best []int
	for _, f := range found {
		if v := numbers(filepath.Base(filepath.Dir(f))); path == "" || slices.Compare(best, v) < 0 {
			path, best = f, v
		}
	}
	return path
}

func numbers(name string) (all []int) {
	for part := range strings.SplitSeq(strings.TrimPrefix(name, "envoy-"), ".") {
		n, _ := strconv.Atoi(part)
		all = append(all, n)
	}
	return all
}
