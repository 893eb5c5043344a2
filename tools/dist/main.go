// Command dist builds what is given out: for each platform a static xds-server
// in an archive with its man pages, completions, licence and README, an SBOM
// of it, and checksums of all.
//
//	go run ./tools/dist -out dist
//
// The same commit and the same Go give the same bytes, wherever and whenever
// they are built. The version is the one that the go command stamps: a tag, or
// a pseudo-version of the commit.
package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

func main() {
	out := flag.String("out", "dist", "`directory` to write to; what is in it goes")
	names := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "`list` of GOOS/GOARCH")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *out, *names); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, names string) error {
	platforms, err := parsePlatforms(names)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "wasmxds-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	d := &dist{root: ".", work: work, out: out}
	if err := d.extras(ctx); err != nil {
		return err
	}
	for _, p := range platforms {
		if err := d.platform(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return checksums(out)
}

// platform is what a binary is for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

func parsePlatforms(list string) ([]platform, error) {
	var platforms []platform
	for name := range strings.SplitSeq(list, ",") {
		goos, arch, ok := strings.Cut(name, "/")
		if !ok {
			return nil, fmt.Errorf("platform %q is not GOOS/GOARCH", name)
		}
		platforms = append(platforms, platform{goos, arch})
	}
	return platforms, nil
}

// checksums writes SHA256SUMS, which `sha256sum -c` reads.
func checksums(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(content), e.Name())
	}
	fmt.Print(sums.String())
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
