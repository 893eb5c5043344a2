package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wasmxds/e2e/harness"
)

var (
	update = flag.Bool("update", false, "write what Envoy does into testdata")
	every  = flag.Bool("all", false, "play the cases with each Envoy, not only the newest")
	apart  = flag.Bool("apart", false, "play each case with an Envoy of its own, to find those that end it")
	keep   = flag.String("keep", "", "write the log of the last Envoy to this `file`")
	folder = flag.String("cases", "testdata", "play the cases of this `folder`")
	only   = flag.String("case", "", "play `name` alone")
)

// TestEnvoy plays all cases through a real Envoy.
func TestEnvoy(t *testing.T) {
	root, err := harness.Root()
	must(t, err)
	envoys, err := harness.Envoys(t.Context(), root)
	must(t, err)
	if !*every {
		envoys = envoys[len(envoys)-1:]
	}
	for i, envoy := range envoys {
		t.Run(envoy.Version, func(t *testing.T) {
			cases, err := Cases(*folder)
			must(t, err)
			newest := i == len(envoys)-1
			version := envoy.Version
			if newest {
				version = ""
			}
			got := map[string]string{}
			var mu sync.Mutex
			t.Run("cases", func(t *testing.T) {
				for _, batch := range batches(cases) {
					t.Run(batch[0].Name, func(t *testing.T) {
						t.Parallel()
						texts := outcomes(t, envoy, batch, version)
						mu.Lock()
						defer mu.Unlock()
						maps.Copy(got, texts)
					})
				}
			})
			for _, c := range cases {
				if text, played := got[c.Name]; played && text != c.Want(version) {
					if *update {
						c.want[version] = text
						continue
					}
					t.Errorf("%s:%d: %s (want, got):\n%s", c.File, c.Line, c.Name, cmp.Diff(c.Want(version), text))
				}
			}
			if *update {
				must(t, rewrite(*folder, cases))
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// batches are the cases that one Envoy is enough for: all but those that end it,
// which are played only with -all.
func batches(cases []*Case) [][]*Case {
	var all [][]*Case
	var together []*Case
	for _, c := range cases {
		switch {
		case *only != "" && c.Name != *only:
		case *apart || c.Apart && (*every || *update || *only != ""):
			all = append(all, []*Case{c})
		case !c.Apart:
			together = append(together, c)
		}
	}
	if len(together) > 0 {
		all = append(all, together)
	}
	return all
}

// outcomes plays all cases through one Envoy, many at a time.
func outcomes(t *testing.T, binary harness.Binary, cases []*Case, version string) map[string]string {
	var players []*player
	names := map[string]bool{}
	for _, c := range cases {
		players = append(players, newPlayer(t, c))
		names[c.Name] = true
	}
	e := startEnvoy(t, binary, players)
	ctx := context.Background()
	must(t, harness.Poll(ctx, time.Minute, func() error { return e.Ready(ctx) }))
	listeners, err := addresses(ctx, e)
	must(t, err)

	var wg sync.WaitGroup
	turns := make(chan struct{}, 8*runtime.GOMAXPROCS(0))
	for _, p := range players {
		address, there := listeners[p.Name]
		if !there {
			p.out.Rejected = true
			continue
		}
		hangs := 20 * time.Second
		if *update {
			hangs = 2 * time.Second
		} else if strings.Contains(p.Want(version), "client got nothing") {
			hangs = 500 * time.Millisecond
		}
		wg.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			p.play(t, address, hangs)
		})
	}
	wg.Wait()
	texts, err := collect(t, e, players, names, version)
	if err != nil {
		// It may take a moment to end.
		_ = harness.Poll(ctx, 5*time.Second, func() error {
			if e.Running() == nil {
				return errors.New("it runs")
			}
			return nil
		})
	}
	if ended := e.Running(); ended != nil {
		if len(players) > 1 {
			t.Fatal(ended)
		}
		return map[string]string{players[0].Name: players[0].Render(Outcome{Crashed: true})}
	}
	must(t, err)
	return texts
}

// collect reads what Envoy tells of the cases, until it is what is wanted or
// nothing more comes.
func collect(t *testing.T, e *harness.Envoy, players []*player, names map[string]bool, version string) (map[string]string, error) {
	ctx := context.Background()
	patience := 5 * time.Second
	if *update {
		patience = 2 * time.Second
	}
	var texts map[string]string
	var failed error
	_ = harness.Poll(ctx, patience, func() error {
		texts = map[string]string{}
		logs, err := logged(e.Log())
		must(t, err)
		codes, err := details(filepath.Join(filepath.Dir(e.Log()), "access.log"))
		must(t, err)
		counts, err := metrics(ctx, e, names)
		if err != nil {
			failed = err
			return nil
		}
		wrong := false
		for _, p := range players {
			p.mu.Lock()
			o := p.out
			o.Log, o.Metrics = logs[p.Name], counts[p.Name]
			for i := range o.Streams {
				if i < len(codes[p.Name]) {
					o.Streams[i].Details = codes[p.Name][i]
				}
			}
			texts[p.Name] = p.Render(o)
			p.mu.Unlock()
			wrong = wrong || texts[p.Name] != p.Want(version)
		}
		if wrong || *update {
			return errors.New("not yet")
		}
		return nil
	})
	return texts, failed
}

// rewrite writes the files with what is wanted now.
func rewrite(dir string, cases []*Case) error {
	files := map[string]*strings.Builder{}
	for _, c := range cases {
		b := files[c.File]
		if b == nil {
			b = new(strings.Builder)
			files[c.File] = b
			old, err := os.ReadFile(filepath.Join(dir, c.File))
			if err != nil {
				return err
			}
			before, _, _ := strings.Cut(string(old), "== ")
			b.WriteString(before)
		}
		input := strings.TrimRight(strings.Join(c.input, "\n"), "\n")
		fmt.Fprintf(b, "== %s\n%s\n----\n%s", c.Name, input, c.want[""])
		for version, want := range c.want {
			if version != "" && want != c.want[""] {
				fmt.Fprintf(b, "---- %s\n%s", version, want)
			}
		}
		b.WriteString("\n")
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.TrimRight(b.String(), "\n")+"\n"), 0o644); err != nil {
			return err
		}
	}
	return nil
}
