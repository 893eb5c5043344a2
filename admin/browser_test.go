//go:build browser

package admin

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wasmxds/definition"
	"wasmxds/xds/swap"
)

// These tests need a real browser: $CHROMIUM, or one of these in PATH.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

var shots = flag.String("shots", "", "directory to write pictures of the pages to")

func findBrowser(t *testing.T) string {
	if path := os.Getenv("CHROMIUM"); path != "" {
		return path
	}
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatalf("no browser: set $CHROMIUM or install one of %s (Debian: apt-get install chromium)", strings.Join(browsers, ", "))
	return ""
}

// browse starts a browser without a window, that ends with the test.
func browse(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(findBrowser(t)), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(cancelTab)
	if err := chromedp.Do(ctx); err != nil { // starts it
		t.Fatal(err)
	}
	return ctx
}

// do runs an action and gives what it gives.
func do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func eval[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	return do(t, ctx, chromedp.Evaluate[T](script))
}

func await(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	do(t, ctx, chromedp.Poll[chromedp.Void](condition))
}

func look(t *testing.T, ctx context.Context, width, height int64, scheme string) {
	t.Helper()
	do(t, ctx, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(2)))
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		t.Fatal(err)
	}
}

// swapScene is a fleet in the middle of a swap, with something wrong.
func swapScene(t *testing.T) *scene {
	s := newScene(t, 24)
	s.load("good morning",
		definition.Problem{File: "/etc/wasmxds/quota.yaml", Line: 7, Field: "module.sha256", Message: "63 hex digits, needs 64", Hint: "sha256sum quota.wasm prints it"},
		definition.Problem{File: "/etc/wasmxds/hello.yaml", Line: 3, Message: "no listener matches", Warning: true})
	for i := range 24 {
		s.behind(i, swap.Waiting, "its turn to be sent has not come; it goes on with the version before")
		switch {
		case i < 14:
			s.run(i)
		case i < 20:
			s.behind(i, swap.Fetching, "Envoy downloads the module 5fe1a25fe1a2; it goes on with the version before")
		case i == 20:
			s.behind(i, swap.Failed, "Envoy does not get the module 5fe1a25fe1a2 (no download ended): connection refused; it goes on with the version before")
		}
	}
	return s
}

// TestPagesInABrowser looks at each page at phone and desk width, light and
// dark: nothing may stick out, and every text must be legible.
func TestPagesInABrowser(t *testing.T) {
	s := swapScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	had := s.Server.history.of("hello")
	paths := map[string]string{
		"fleet": "/", "filter": "/filters/hello?from=" + had[1].Version + "&to=" + had[0].Version,
		"envoys": "/envoys", "envoy": "/envoys/edge-18", "missing": "/nowhere",
	}
	for name, path := range paths {
		for _, size := range []struct {
			name          string
			width, height int64
		}{{"desk", 1200, 800}, {"phone", 375, 760}} {
			for _, scheme := range []string{"light", "dark"} {
				shot := fmt.Sprintf("%s-%s-%s", name, size.name, scheme)
				look(t, ctx, size.width, size.height, scheme)
				do(t, ctx, chromedp.Navigate(srv.URL+path))
				if wide := eval[[]string](t, ctx, sticksOut); len(wide) > 0 {
					t.Errorf("%s: wider than the window: %s", shot, wide)
				}
				if faint := eval[[]string](t, ctx, tooFaint); len(faint) > 0 {
					t.Errorf("%s: contrast below 4.5: %s", shot, faint)
				}
				if *shots != "" {
					picture := do(t, ctx, chromedp.FullScreenshot(100))
					if err := os.WriteFile(filepath.Join(*shots, shot+".png"), picture, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}

// sticksOut names the elements that are wider than the window, but for what
// scrolls by itself.
const sticksOut = `[...document.querySelectorAll("body *")]
	.filter(e => !e.closest(".code, .hidden, .skip, pre") && e.getBoundingClientRect().right > innerWidth + 1)
	.map(e => e.tagName + "." + e.className)`

// tooFaint names texts whose contrast with their background is below what
// WCAG 2 AA asks of small text.
const tooFaint = `(() => {
	const rgb = c => (c.match(/[\d.]+/g) || []).map(Number);
	const light = c => rgb(c).slice(0, 3).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const ground = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; if (rgb(c)[3] !== 0) return c; } return "rgb(255, 255, 255)"; };
	const found = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.data.trim() || e.closest(".hidden, .skip, [hidden], script")) continue;
		const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
		const ratio = (a + .05) / (b + .05);
		if (ratio < 4.5) found.add(e.tagName + "." + e.className + " " + ratio.toFixed(2));
	}
	return [...found];
})()`

// TestPageGoesOnByItself sees a change arrive without a reload, with the
// focus where it was.
func TestPageGoesOnByItself(t *testing.T) {
	s := newScene(t, 3)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(srv.URL))
	await(t, ctx, `document.body.dataset.live == "on"`)
	eval[chromedp.Void](t, ctx, `window.sameDocument = true; document.querySelector("h3 a").focus()`)
	s.load("good morning")
	s.behind(0, swap.Fetching, "Envoy downloads the module")
	s.run(1)
	s.run(2)
	await(t, ctx, `document.querySelector("h1").textContent == "2 of 3 Envoys run what is wanted"`)
	await(t, ctx, `document.querySelector("#trouble").textContent.includes("Envoy downloads the module")`)
	if focused := eval[string](t, ctx, `document.activeElement.textContent`); focused != "hello" {
		t.Errorf("focus on %q, it was on hello", focused)
	}
	if title := do(t, ctx, chromedp.Title()); !strings.HasPrefix(title, "2 of 3") {
		t.Errorf("title %q", title)
	}
	s.run(0)
	await(t, ctx, `document.querySelector("h1").textContent == "All 3 Envoys run what is wanted"`)
	if !eval[bool](t, ctx, `window.sameDocument === true`) {
		t.Error("the page was loaded anew")
	}
}

// TestPageByKeyboard goes through the page with the tab key, and by what a
// screen reader is told.
func TestPageByKeyboard(t *testing.T) {
	s := swapScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(srv.URL))
	var order []string
	for range 6 {
		do(t, ctx, chromedp.KeyEvent(kb.Tab))
		order = append(order, eval[string](t, ctx, `document.activeElement.textContent.trim()`))
	}
	want := "Skip to the content, xds-server, Fleet, Envoys, hello, quota"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("the tab key goes to %s, want %s", got, want)
	}
	for _, path := range []string{"/", "/envoys", "/envoys/edge-18", "/filters/hello"} {
		do(t, ctx, chromedp.Navigate(srv.URL+path))
		if problems := eval[[]string](t, ctx, unnamed); len(problems) > 0 {
			t.Errorf("%s: %s", path, problems)
		}
	}
}

// unnamed lists what a screen reader could not tell or would tell out of
// order: links, pictures, fields and sections without a name, headings that
// skip a level.
const unnamed = `(() => {
	const out = [], name = e => (e.getAttribute("aria-label") || e.getAttribute("alt") || e.textContent ||
		document.getElementById(e.getAttribute("aria-labelledby"))?.textContent || "").trim();
	for (const e of document.querySelectorAll("a, button, [role=img], [role=region], nav, figure"))
		if (!e.closest("[aria-hidden=true]") && !name(e)) out.push("no name: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("section"))
		if (!document.getElementById(e.getAttribute("aria-labelledby"))) out.push("no heading: " + e.id);
	for (const e of document.querySelectorAll("select, input"))
		if (!e.closest("label")) out.push("no label: " + e.outerHTML.slice(0, 80));
	let last = 0;
	for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
		const level = +h.tagName[1];
		if (level > last + 1) out.push("skips a level: " + h.textContent);
		last = level;
	}
	if (document.querySelectorAll("h1").length != 1) out.push("not one h1");
	return out;
})()`

// TestPageWithoutJavaScript reads the page as a browser without scripts does.
func TestPageWithoutJavaScript(t *testing.T) {
	s := swapScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	if err != nil {
		t.Fatal(err)
	}
	do(t, ctx, chromedp.Navigate(srv.URL))
	text := do(t, ctx, chromedp.Text("body"))
	wantIn(t, text, "14 of 24 Envoys run what is wanted", "63 hex digits, needs 64", "as of ")
}
