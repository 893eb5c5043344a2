//go:build browser

package admin

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
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

// browse starts a headless browser, which ends with the test.
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

// do runs an action and returns its result.
func do[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
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

// arrive waits for a condition while the browser navigates, when evaluation may
// fail.
func arrive(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		there, err := chromedp.Run(ctx, chromedp.Evaluate[bool](condition))
		switch {
		case err == nil && there:
			return
		case ctx.Err() != nil:
			t.Fatalf("%s: %v", condition, err)
		}
	}
}

func look(t *testing.T, ctx context.Context, width, height int64, scheme string) {
	t.Helper()
	scale := 1.0
	if *shots != "" {
		scale = 2
	}
	do(t, ctx, chromedp.EmulateViewport(width, height, chromedp.EmulateScale(scale)))
	_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	if err != nil {
		t.Fatal(err)
	}
}

// swapScene is a fleet in the middle of a swap, with a problem.
func swapScene(t *testing.T) *scene {
	s := newScene(t, 24)
	s.load("good morning",
		definition.Problem{File: "/etc/wasmxds/quota.yaml", Line: 7, Field: "module.sha256", Message: "63 hex digits, needs 64", Hint: "sha256sum quota.wasm prints it"},
		definition.Problem{File: "/etc/wasmxds/hello.yaml", Line: 3, Message: "no listener matches", Warning: true})
	for i := range 24 {
		s.behind(i, swap.Waiting, "it has not been sent yet; it keeps running the version before")
		switch {
		case i < 14:
			s.run(i)
		case i < 20:
			s.behind(i, swap.Fetching, "Envoy downloads the module 5fe1a25fe1a2; it keeps running the version before")
		case i == 20:
			s.behind(i, swap.Failed, "Envoy can't download the module 5fe1a25fe1a2 (no download has completed): connection refused; it keeps running the version before")
		}
	}
	return s
}

// rolloutScene is swapScene with changes in progress, one of which was stopped,
// that an operator may move.
func rolloutScene(t *testing.T) (*scene, *mover) {
	s, m := swapScene(t), someRollouts()
	const steps = 60
	began := time.Now().Add(-8 * time.Minute)
	curve := func(bad float64) (all []rollout.Point) {
		for i := range steps {
			p := rollout.Point{Requests: 300 + 20*float64(i%7), Errors: float64(i % 3), Slow: 0.011 + 0.002*float64(i%5)}
			if i > 20 {
				p.Errors += bad * float64(i-20) / 6
				p.Slow *= 1 + bad*float64(i%4)/20
				p.Crashes = int(bad) * (i % 11 / 10)
			}
			all = append(all, p)
		}
		return all
	}
	for i := range m.st.Changes {
		c := &m.st.Changes[i]
		c.Opened = began
		if !c.Ended.IsZero() {
			c.Opened, c.Ended = began.Add(-time.Duration(20*i)*time.Minute), began.Add(-time.Duration(20*i-8)*time.Minute)
		}
		for j := range c.Waves {
			if w := &c.Waves[j]; !w.Began.IsZero() {
				w.Began = began.Add(time.Duration(2+3*j) * time.Minute)
			}
		}
		if i < 2 {
			c.Cohorts = &rollout.CohortsStatus{New: []string{"edge-07"}, Control: []string{"edge-11", "edge-18", "edge-with-a-very-long-name-that-somebody-gave-it.eu-central-1.example.com"}}
			c.Curves = &rollout.Curves{Step: 8 * time.Second, From: began, Began: began.Add(2 * time.Minute), New: curve(float64(i)), Control: curve(0)}
		}
	}
	m.st.Changes[0].Judges = append(m.st.Changes[0].Judges, rollout.VerdictStatus{Judge: "prometheus 1", Verdict: rollout.Good, Words: "0.003 of at most 0.01"})
	s.Server.opts.Rollouts = m
	s.Server.opts.Operators.Token = tokenOf(t, operateSecret)
	return s, m
}

// TestPagesInABrowser opens each page at phone and desktop width, light and
// dark, and checks that nothing overflows, and every text is legible.
func TestPagesInABrowser(t *testing.T) {
	s, _ := rolloutScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	axe := violations(t)
	empty := New(Options{Fleet: fleet{}, Start: Start{Directory: "/etc/wasmxds", Definition: FirstDefinition, Bootstrap: []string{"xds-server bootstrap --node-id edge-1", "--xds-address xds.internal:18000"}}})
	empty.Loaded(Loaded{Set: &module.Set{}, Catalog: catalog{}})
	nothing := httptest.NewServer(empty.Handler())
	defer nothing.Close()
	defer empty.Drain()
	had := s.Server.history.of("hello")
	paths := map[string]string{
		"fleet": "/", "filters": "/filters", "filter": "/filters/hello?from=" + had[1].Version + "&to=" + had[0].Version,
		"envoys": "/envoys", "envoy": "/envoys/edge-18", "missing": "/nowhere", "empty": "",
		"rollouts": "/rollouts", "rolling": "/rollouts/5c0ffee1", "stopped": "/rollouts/0ddba11d", "done": "/rollouts/ba5eba11",
	}
	for name, path := range paths {
		for _, size := range []struct {
			name          string
			width, height int64
		}{{"desk", 1280, 800}, {"phone", 390, 844}} {
			for _, scheme := range []string{"light", "dark"} {
				if *shots == "" && (size.name == "desk") == (scheme == "dark") {
					continue // all four combinations are only needed for pictures
				}
				shot := fmt.Sprintf("%s-%s-%s", name, size.name, scheme)
				look(t, ctx, size.width, size.height, scheme)
				at := srv.URL + path
				if name == "empty" {
					at = nothing.URL
				}
				do(t, ctx, chromedp.Navigate(at))
				judge(t, ctx, shot)
				if name != "fleet" && name != "envoys" && name != "filters" && scheme == "dark" { // these three are audited by TestFleetsInABrowser
					audit(t, ctx, shot, axe())
				}
			}
		}
	}
}

// sticksOut returns the elements that are wider than the window, except for
// those that scroll, and names that frames cut off.
const sticksOut = `[...document.querySelectorAll("body *")]
	.filter(e => !e.closest(".code, .hidden, .skip, pre, .flame svg *") && e.getBoundingClientRect().right > innerWidth + 1)
	.map(e => e.tagName + "." + e.className)`

// tooFaint returns texts whose contrast is below what WCAG 2 AA requires for
// small text.
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

// TestPageGoesOnByItself checks that a change appears without a reload, and the
// focus stays.
func TestPageGoesOnByItself(t *testing.T) {
	s := newScene(t, 3)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(srv.URL))
	await(t, ctx, `document.body.dataset.live == "on"`)
	eval[chromedp.Void](t, ctx, `window.sameDocument = true; document.querySelector(".filters th a").focus()`)
	s.load("good morning")
	s.behind(0, swap.Fetching, "Envoy downloads the module")
	s.run(1)
	s.run(2)
	await(t, ctx, `document.querySelector("h1").textContent == "Updating · 2 of 3 Envoys up to date"`)
	await(t, ctx, `document.querySelector("#glance").textContent.includes("Envoy downloads the module")`)
	if focused := eval[string](t, ctx, `document.activeElement.textContent`); focused != "hello" {
		t.Errorf("focus on %q, it was on hello", focused)
	}
	if title := do(t, ctx, chromedp.Title()); !strings.HasPrefix(title, "Updating · 2 of 3") {
		t.Errorf("title %q", title)
	}
	s.run(0)
	await(t, ctx, `document.querySelector("h1").textContent == "Healthy · 3 Envoys"`)
	if !eval[bool](t, ctx, `window.sameDocument === true`) {
		t.Error("the page was loaded anew")
	}
}

// TestPageByKeyboard navigates the page with the tab key, and checks what a
// screen reader gets.
func TestPageByKeyboard(t *testing.T) {
	s, _ := rolloutScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(srv.URL))
	var order []string
	for range 7 {
		do(t, ctx, chromedp.KeyEvent(kb.Tab))
		order = append(order, eval[string](t, ctx, `document.activeElement.textContent.trim()`))
	}
	want := "Skip to the content, xds-server, Fleet, Filters, Envoys, Changes, failed 1"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("the tab key goes to %s, want %s", got, want)
	}
	for _, path := range []string{"/", "/envoys", "/envoys/edge-18", "/filters/hello", "/rollouts", "/rollouts/5c0ffee1"} {
		do(t, ctx, chromedp.Navigate(srv.URL+path))
		if problems := eval[[]string](t, ctx, unnamed); len(problems) > 0 {
			t.Errorf("%s: %s", path, problems)
		}
	}
}

// unnamed returns what a screen reader could not announce, or would announce
// out of order: links, pictures, fields and sections without a name, headings
// that skip a level.
const unnamed = `(() => {
	const out = [], name = e => (e.getAttribute("aria-label") || e.getAttribute("alt") || e.textContent ||
		document.getElementById(e.getAttribute("aria-labelledby"))?.textContent || "").trim();
	for (const e of document.querySelectorAll("a, button, [role=img], [role=region], nav, figure"))
		if (!e.closest("[aria-hidden=true]") && !name(e)) out.push("no name: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("section"))
		if (!document.getElementById(e.getAttribute("aria-labelledby"))) out.push("no heading: " + e.id);
	for (const e of document.querySelectorAll("select, input"))
		if (!e.closest("label") && !e.labels?.length && e.type != "hidden") out.push("no label: " + e.outerHTML.slice(0, 80));
	let last = 0;
	for (const h of document.querySelectorAll("h1, h2, h3, h4")) {
		const level = +h.tagName[1];
		if (level > last + 1) out.push("skips a level: " + h.textContent);
		last = level;
	}
	if (document.querySelectorAll("h1").length != 1) out.push("not one h1");
	return out;
})()`

// TestOperateInABrowser checks that an operator can enter the token and press a
// button, with the keyboard only, and the page follows.
func TestOperateInABrowser(t *testing.T) {
	s, m := rolloutScene(t)
	srv := httptest.NewServer(s.Server.Handler())
	defer srv.Close()
	defer s.Server.Drain()
	ctx := browse(t)
	told := func() []rollout.Command {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.Clone(m.told)
	}
	submit := func(token string) {
		t.Helper()
		do(t, ctx, chromedp.Navigate(srv.URL+"/rollouts/5c0ffee1"))
		eval[chromedp.Void](t, ctx, `document.querySelector("input[name=token]").focus()`)
		do(t, ctx, chromedp.KeyEvent(token+kb.Tab+kb.Enter))
	}
	submit("something that is no token")
	arrive(t, ctx, `document.querySelector("h1").textContent == "Unauthorized"`)
	if len(told()) > 0 {
		t.Fatalf("told %v", m.told)
	}
	submit(operateSecret)
	arrive(t, ctx, `location.pathname == "/rollouts/5c0ffee15c0ffee1" && document.body.dataset.live == "on"`)
	if got := told(); len(got) != 1 || got[0] != (rollout.Command{Verb: rollout.Pause, ID: "5c0ffee15c0ffee1", By: byToken}) {
		t.Errorf("told %v", got)
	}
	eval[chromedp.Void](t, ctx, `document.querySelector("input[name=token]").value = "half a token"`)
	m.mu.Lock()
	changes := slices.Clone(m.st.Changes)
	changes[0].State, changes[0].Words = rollout.Paused, "paused in wave 2 of 3"
	m.st.Changes = changes
	m.mu.Unlock()
	await(t, ctx, `document.querySelector(".verdict").textContent.includes("paused in wave 2 of 3")`)
	await(t, ctx, `document.querySelector("button[value=resume]") && !document.querySelector("button[value=pause]")`)
	if kept := eval[string](t, ctx, `document.querySelector("input[name=token]").value`); kept != "half a token" {
		t.Errorf("what was typed is %q", kept)
	}
	if cookies := eval[string](t, ctx, `document.cookie`); cookies != "" {
		t.Errorf("cookies %q", cookies)
	}
}

// TestOtherSitesInABrowser sends the form from a page of another site, in the
// ways that a browser allows.
func TestOtherSitesInABrowser(t *testing.T) {
	s, m := rolloutScene(t)
	answered := make(chan int, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &codeOf{ResponseWriter: w}
		s.Server.Handler().ServeHTTP(rec, r)
		if r.Method == http.MethodPost {
			answered <- rec.code
		}
	}))
	defer srv.Close()
	defer s.Server.Drain()
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%s/rollouts/5c0ffee1"><input name="command" value="promote"><input name="token" value="%s"></form>
<script>
fetch("%[1]s/api/v1/rollouts/5c0ffee1/promote", {method: "POST", mode: "no-cors", headers: {"Content-Type": "text/plain"}, body: "{}"}).catch(() => {})
	.then(() => document.forms[0].submit())
</script>`, srv.URL, operateSecret)
	}))
	defer evil.Close()
	ctx := browse(t)
	do(t, ctx, chromedp.Navigate(evil.URL))
	for range 2 {
		select {
		case code := <-answered:
			if code != http.StatusForbidden {
				t.Errorf("answered %d", code)
			}
		case <-time.After(time.Minute):
			t.Fatal("the page sent nothing")
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.told) > 0 {
		t.Errorf("told %v", m.told)
	}
}

// codeOf records the status of a response.
type codeOf struct {
	http.ResponseWriter
	code int
}

func (c *codeOf) WriteHeader(code int) {
	c.code = code
	c.ResponseWriter.WriteHeader(code)
}

// TestPageWithoutJavaScript opens the page in a browser without scripts.
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
	wantIn(t, text, "14 of 24 Envoys run all they should", "63 hex digits, needs 64", "as of ")
}
