//go:build browser

package admin

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"wasmxds/module/dryrun/profile"
)

// TestFlameInABrowser opens a flame graph on the narrowest phone and on a desk,
// light and dark, and goes through it with the keyboard.
func TestFlameInABrowser(t *testing.T) {
	// Pages that are open ask for their profile again, so what nobody has asked for yet has a server of its own.
	serve := func(p *profiler) string {
		s := swapScene(t)
		s.Server.opts.Profiles = p
		srv := httptest.NewServer(s.Server.Handler())
		t.Cleanup(srv.Close)
		t.Cleanup(s.Server.Drain)
		return srv.URL
	}
	p := &profiler{profile: someProfile()}
	name := "github.com/somebody/something.(*Filter).OnHttpRequestHeaders"
	for i := range 40 {
		p.profile.Nodes = append(p.profile.Nodes, profile.Node{Parent: int32(3 + i%5), Function: fmt.Sprint(name, i), Instructions: uint64(7 * i), Calls: 1})
	}
	url := serve(p)
	ctx := browse(t)
	axe := violations(t)
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{320, 1280} {
			look(t, ctx, width, 800, scheme)
			do(t, ctx, chromedp.Navigate(url+"/filters/hello?profile=all"))
			shot := fmt.Sprintf("profile-%d-%s", width, scheme)
			judge(t, ctx, shot)
			audit(t, ctx, shot, axe())
			if faint := eval[[]string](t, ctx, faintFrames); len(faint) > 0 {
				t.Errorf("%s: contrast below 4.5: %s", shot, faint)
			}
		}
	}
	do(t, ctx, chromedp.Navigate(serve(&profiler{profile: p.profile})+"/filters/hello"))
	eval[chromedp.Void](t, ctx, `document.querySelector("#profile button").focus()`)
	do(t, ctx, chromedp.KeyEvent(kb.Enter))
	arrive(t, ctx, `location.search == "?profile=" && document.readyState == "complete"`)
	if problems := eval[[]string](t, ctx, unnamed); len(problems) > 0 {
		t.Errorf("%s", problems)
	}
	eval[chromedp.Void](t, ctx, `document.querySelector(".flame a").focus()`)
	do(t, ctx, chromedp.KeyEvent(kb.Tab))
	if focused := eval[string](t, ctx, `document.activeElement.getAttribute("aria-label")`); !strings.HasPrefix(focused, "proxy_on_request_headers: 100 %") {
		t.Errorf("after the topmost frame, the tab key goes to %q", focused)
	}
	do(t, ctx, chromedp.KeyEvent(kb.Enter))
	arrive(t, ctx, `location.search == "?profile=3" && document.readyState == "complete" && document.querySelectorAll(".flame a").length > 0`)
	if above := eval[string](t, ctx, `document.querySelector("#profile .crumbs").textContent`); !strings.Contains(above, "requests") {
		t.Errorf("above is %q", above)
	}
}

// faintFrames returns frames whose names can't be read on their colour.
const faintFrames = `(() => {
	const light = c => c.match(/[\d.]+/g).slice(0, 3).map(Number).map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	return [...document.querySelectorAll(".flame a")].filter(a => a.querySelector("text")).filter(a => {
		const [x, y] = [light(getComputedStyle(a.querySelector("text")).fill), light(getComputedStyle(a.querySelector("rect")).fill)].sort((x, y) => y - x);
		return (x + .05) / (y + .05) < 4.5;
	}).map(a => a.getAttribute("aria-label"));
})()`
