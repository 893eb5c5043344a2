//go:build browser

package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// axe is axe-core, that `make browser-test` installs.
const axe = "../.tools/axe/node_modules/axe-core/axe.min.js"

// violations are what axe finds on the page that is open.
func violations(t *testing.T) func() string {
	t.Helper()
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("%v (tools/axe.sh installs it)", err)
	}
	return func() string { return string(script) + axeRun }
}

const axeRun = `; axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => ({
	id: v.id, nodes: v.nodes.slice(0, 3).map(n => n.html.slice(0, 160) + " " + (n.any[0] || n.all[0] || n.none[0] || {}).message)}))))`

// TestFleetsInABrowser looks at fleets of each size, at each width: nothing sticks
// out, all is legible, axe finds nothing, and what is wrong is within the first
// screens.
func TestFleetsInABrowser(t *testing.T) {
	axe := violations(t)
	ctx := browse(t)
	for i, size := range []struct{ envoys, filters int }{{1, 3}, {50, 30}, {5000, 300}, {100, 500}} {
		srv := httptest.NewServer(playedServer(size.envoys, size.filters).Handler())
		for _, width := range []int64{390, 768, 1280} {
			for _, scheme := range []string{"light", "dark"} {
				if (i%2 == 0) == (width == 768) && scheme == "dark" {
					continue // each width is seen dark, of half of the fleets
				}
				look(t, ctx, width, 844, scheme)
				for name, path := range map[string]string{"fleet": "/", "filters": "/filters", "envoys": "/envoys"} {
					if name != "fleet" && (width == 768 || size.filters != 30) {
						continue
					}
					shot := fmt.Sprintf("%s-%d-envoys-%d-filters-%d-%s", name, size.envoys, size.filters, width, scheme)
					do(t, ctx, chromedp.Navigate(srv.URL+path))
					if wide := eval[[]string](t, ctx, sticksOut); len(wide) > 0 {
						t.Errorf("%s: wider than the window: %s", shot, wide)
					}
					if faint := eval[[]string](t, ctx, tooFaint); len(faint) > 0 {
						t.Errorf("%s: contrast below 4.5: %s", shot, faint)
					}
					if high := eval[int](t, ctx, `document.documentElement.scrollHeight`); name == "fleet" && high > 3*844 {
						t.Errorf("%s: %d pixels high", shot, high)
					}
					if *shots != "" {
						picture := do(t, ctx, chromedp.FullScreenshot(100))
						if err := os.WriteFile(filepath.Join(*shots, shot+".png"), picture, 0o644); err != nil {
							t.Fatal(err)
						}
					}
					if width == 1280 && scheme == "light" || width == 390 && scheme == "dark" {
						audit(t, ctx, shot, axe())
					}
				}
			}
		}
		srv.CloseClientConnections()
		srv.Close()
	}
}

func audit(t *testing.T, ctx context.Context, name, script string) {
	t.Helper()
	found := do(t, ctx, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise))
	var all []struct {
		ID    string
		Nodes []string
	}
	if err := json.Unmarshal([]byte(found), &all); err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		t.Errorf("%s: axe finds %s: %s", name, v.ID, strings.Join(v.Nodes, "\n\t"))
	}
}
