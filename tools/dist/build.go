package main

import (
	"context"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// dist builds into out, by way of work.
type dist struct {
	root, work, out string
	flags           []string // further ones of go build
}

// completions are where shells look for them, below a package's folder.
var completions = map[string]string{
	"bash": "completions/bash/xds-server",
	"zsh":  "completions/zsh/_xds-server",
	"fish": "completions/fish/xds-server.fish",
}

// extras makes what is the same on every platform.
func (d *dist) extras(ctx context.Context) error {
	program, err := d.build(ctx, platform{runtime.GOOS, runtime.GOARCH})
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	extras := filepath.Join(d.work, "extras")
	man := exec.CommandContext(ctx, program, "man", filepath.Join(extras, "man", "man1"))
	man.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", committed(info).Unix()))
	if out, err := man.CombinedOutput(); err != nil {
		return fmt.Errorf("write man pages: %w\n%s", err, out)
	}
	for shell, name := range completions {
		script, err := exec.CommandContext(ctx, program, "completion", shell).Output()
		if err != nil {
			return fmt.Errorf("write completions for %s: %w", shell, err)
		}
		if err := write(filepath.Join(extras, name), script); err != nil {
			return err
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "examples/systemd/xds-server.service"} {
		content, err := os.ReadFile(filepath.Join(d.root, name))
		if err != nil {
			return err
		}
		if err := write(filepath.Join(extras, filepath.Base(name)), content); err != nil {
			return err
		}
	}
	return nil
}

func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// platform writes the archive and the SBOM of a platform.
func (d *dist) platform(ctx context.Context, p platform) error {
	program, err := d.build(ctx, p)
	if err != nil {
		return err
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("wasmxds_%s_%s_%s", strings.Trim(info.Main.Version, "()"), p.os, p.arch) // "(devel)" outside a repository
	bom, err := sbom(info, program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.out, name+".cdx.json"), bom, 0o644); err != nil {
		return err
	}
	a, err := newArchive(filepath.Join(d.out, name+".tar.gz"), name, committed(info))
	if err != nil {
		return err
	}
	a.add(program, "xds-server", 0o755)
	a.addAll(filepath.Join(d.work, "extras"))
	return a.close()
}

// build returns the program of a platform.
func (d *dist) build(ctx context.Context, p platform) (string, error) {
	program, err := filepath.Abs(filepath.Join(d.work, p.os+"-"+p.arch, "xds-server"))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", program}, d.flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/xds-server")...)
	cmd.Dir = d.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, "GOFLAGS=-buildvcs=auto", "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return program, nil
}

// committed is when the commit was made that a binary is of; the epoch where
// that is not known.
func committed(info *buildinfo.BuildInfo) time.Time {
	for _, s := range info.Settings {
		if s.Key != "vcs.time" {
			continue
		}
		if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
			return t.UTC()
		}
	}
	return time.Unix(0, 0).UTC()
}
