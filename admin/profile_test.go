package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/module/dryrun"
	"wasmxds/module/dryrun/profile"
	"wasmxds/try"
)

// profiler has one profile, as soon as it was asked to make it.
type profiler struct {
	profile profile.Profile
	err     error
	made    *try.Profiled
	asked   []try.ProfileSubject
}

func (p *profiler) Kept(try.ProfileSubject) *try.Profiled { return p.made }

func (p *profiler) Profile(_ context.Context, s try.ProfileSubject) (*try.Profiled, error) {
	p.asked = append(p.asked, s)
	if p.err == nil {
		p.made = &try.Profiled{Profile: &p.profile, Cases: 2, Of: 3}
	}
	return p.made, p.err
}

// someProfile has a start, and two requests with a recursion.
func someProfile() profile.Profile {
	return profile.Profile{Nodes: []profile.Node{
		{Parent: -1, Function: profile.Start, Calls: 1}, {Parent: 0, Function: "_initialize", Instructions: 80_000, Calls: 1},
		{Parent: -1, Function: profile.Requests, Calls: 2}, {Parent: 2, Function: "proxy_on_request_headers", Instructions: 400, Calls: 2},
		{Parent: 3, Function: "_ZN5hello5greet17h0123456789abcdefE", Instructions: 1500, Calls: 4},
		{Parent: 4, Function: "_ZN5hello5greet17h0123456789abcdefE", Instructions: 90, Calls: 2},
		{Parent: 3, Function: "<script>", Instructions: 9, Calls: 1},
		{Parent: 3, Function: "tiny", Instructions: 1, Calls: 1},
	}}
}

func profilingServer(p *profiler) *Server {
	s := newServer(someFleet())
	s.opts.Profiles = p
	l := someLoaded()
	l.Set.Tests = []*definition.FilterTest{{Filter: "aside"}, {Filter: "hello"}}
	s.Loaded(l)
	return s
}

// TestProfileOfAFilter checks that a profile is made only when somebody asks,
// and what the page shows of it.
func TestProfileOfAFilter(t *testing.T) {
	p := &profiler{profile: someProfile()}
	h := profilingServer(p).Handler()
	if code, text := get(t, h, "/filters/hello"); code != 200 || !strings.Contains(text, "make a profile") || len(p.asked) > 0 {
		t.Errorf("%d, asked for %d: %s", code, len(p.asked), text)
	}
	code, text := get(t, h, "/filters/hello?profile=")
	if code != 200 || len(p.asked) != 1 || p.asked[0].Module.SHA256 != sha || len(p.asked[0].Tests) != 1 || p.asked[0].Tests[0].Filter != "hello" {
		t.Fatalf("%d, asked for %+v", code, p.asked)
	}
	for _, want := range []string{
		"in 2 cases of its FilterTests", "The other 1 would have taken too long.", "requests <b>2,000</b>", "(2 × 1,000)", "start <b>80,000</b>",
		`aria-label="hello::greet: 80 %, 1,590 instructions"`, `<code>hello::greet</code>`, "&lt;script&gt;", `href="/api/v1/profiles/hello"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, unwanted := range []string{"<script>", "style=", "_initialize", "tiny: "} {
		if _, section, _ := strings.Cut(text, `id="profile"`); strings.Contains(section[:strings.Index(section, "</section>")], unwanted) {
			t.Errorf("the profile has %q", unwanted)
		}
	}
	if _, text := get(t, h, "/filters/hello?profile=all"); !strings.Contains(text, "_initialize") {
		t.Error("all phases lack the start")
	}
	for _, at := range []string{"7", "-1", "99999999999999999999", "%00", "3&profile=4"} {
		if code, _ := get(t, h, "/filters/hello?profile="+at); code != 200 {
			t.Errorf("?profile=%s: %d", at, code)
		}
	}
	if code, text := get(t, h, "/api/v1/profiles/hello"); code != 200 || !strings.HasPrefix(text, "\x1f\x8b") {
		t.Errorf("%d, %d bytes", code, len(text))
	}
}

// TestNoProfile checks that everybody hears why there is none.
func TestNoProfile(t *testing.T) {
	lua := someLoaded()
	d := *lua.Set.Filters[0].Definition
	d.Lua = &definition.Lua{}
	lua.Set.Filters[0] = &module.Filter{Definition: &d, Wanted: &d, State: module.Good}
	absent := someLoaded()
	absent.Set.Filters[0].Module, absent.Set.Filters[0].Reason = module.Info{}, "connection refused"
	secret := someLoaded()
	secret.Set.Filters[0] = secretFilter("b2", "canary")
	for _, c := range []struct {
		path   string
		loaded Loaded
		err    error
		code   int
		words  string
	}{
		{"hello", Loaded{}, nil, 503, "not loaded yet"},
		{"other", someLoaded(), nil, 404, `there is no filter "other"`},
		{"hello", lua, nil, 409, "hello is a LuaFilter"},
		{"hello", absent, nil, 409, "connection refused"},
		{"hello", secret, nil, 403, "comes from a Secret"},
		{"hello", someLoaded(), &dryrun.Unplayable{Reason: "it imports its memory"}, 409, "only an Envoy can run it"},
		{"hello", someLoaded(), fmt.Errorf("profile: %w", context.DeadlineExceeded), 503, "try again"},
		{"hello", someLoaded(), errors.New("dry run: it has not started"), 409, "it has not started"},
	} {
		s := newServer(someFleet())
		s.opts.Profiles = &profiler{err: c.err}
		s.Loaded(c.loaded)
		if code, text := get(t, s.Handler(), "/api/v1/profiles/"+c.path); code != c.code || !strings.Contains(text, c.words) {
			t.Errorf("%d %s, want %d %s", code, text, c.code, c.words)
		}
		if code, text := get(t, s.Handler(), "/filters/"+c.path+"?profile="); code == 200 && !strings.Contains(text, c.words) {
			t.Errorf("the page lacks %q", c.words)
		}
	}
}

// TestProfileForOthers checks that no other site's page makes this server play
// anything.
func TestProfileForOthers(t *testing.T) {
	p := &profiler{profile: someProfile()}
	h := profilingServer(p).Handler()
	for path, want := range map[string]int{"/filters/hello?profile=": 200, "/api/v1/profiles/hello": 403} {
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || len(p.asked) > 0 {
			t.Errorf("%s: %d, asked for %d", path, w.Code, len(p.asked))
		}
	}
}

func TestFlame(t *testing.T) {
	p := someProfile()
	f := newFlame(&p, "")
	var rows []string
	for _, r := range f.Top {
		rows = append(rows, fmt.Sprintf("%s own %d all %d calls %d at %s", r.Name, r.Own, r.Total, r.Calls, r.At))
	}
	want := []string{
		"hello::greet own 1590 all 1590 calls 6 at 4", "proxy_on_request_headers own 400 all 2000 calls 2 at 3",
		"<script> own 9 all 9 calls 1 at 6", "tiny own 1 all 1 calls 1 at 7",
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Error(diff)
	}
	var frames []string
	for _, r := range f.Frames {
		frames = append(frames, fmt.Sprintf("%s %s+%s at %d", r.Name, r.X, r.W, r.Y))
	}
	want = []string{
		"requests 0.000%+100.000% at 0", "proxy_on_request_headers 0.000%+100.000% at 22",
		"hello::greet 0.000%+79.500% at 44", "hello::greet 0.000%+4.500% at 66", "<script> 79.500%+0.450% at 44",
	}
	if diff := cmp.Diff(want, frames); diff != "" {
		t.Error(diff)
	}
	if f := newFlame(&p, "4"); f.Total != 1590 || len(f.Above) != 3 || f.Above[0].At != "all" || f.Above[2].Name != "proxy_on_request_headers" {
		t.Errorf("%+v", f)
	}
	if f := newFlame(&profile.Profile{Nodes: p.Nodes[:2]}, ""); f.Name != "all" || len(f.Frames) != 2 {
		t.Errorf("without requests: %+v", f)
	}
}
