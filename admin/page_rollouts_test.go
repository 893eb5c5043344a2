package admin

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"wasmxds/printable"
	"wasmxds/rollout"
	"wasmxds/textdiff"
)

// withCertificate modifies a request so that it has a certificate.
func withCertificate(name string) func(*http.Request) {
	leaf := &x509.Certificate{Raw: []byte(name), Subject: pkix.Name{CommonName: name}}
	return func(r *http.Request) {
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	}
}

// certified returns a Server on which "ops" and "more-ops" are operators by
// certificate.
func certified(t *testing.T, m *mover) *Server {
	t.Helper()
	s := operated(t, m)
	s.opts.Operators.Token = nil
	s.opts.Operators.Certificate = func(c *x509.Certificate) string {
		if strings.HasSuffix(c.Subject.CommonName, "ops") {
			return c.Subject.CommonName
		}
		return ""
	}
	return s
}

// submit sends a form like a browser, modified by change.
func submit(t *testing.T, s *Server, path string, form url.Values, change func(*http.Request)) (code int, location, text string) {
	t.Helper()
	r, w := httptest.NewRequest("POST", path, strings.NewReader(form.Encode())), httptest.NewRecorder()
	r.Host = "127.0.0.1:19000"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if change != nil {
		change(r)
	}
	if r.Header.Get("Origin") == "" {
		r.Header.Set("Origin", map[bool]string{false: "http://", true: "https://"}[r.TLS != nil]+r.Host)
	}
	s.Handler().ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, w.Header().Get("Location"), string(body)
}

func TestForms(t *testing.T) {
	const path = "/rollouts/5c0ffee15c0ffee1"
	form := func(pairs ...string) url.Values {
		v := url.Values{"command": {"pause"}, "token": {operateSecret}}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		return v
	}
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for _, c := range []struct {
		name, path string
		form       url.Values
		change     func(*http.Request)
		code       int
		want       string // where it redirects to, or text of the page
	}{
		{"the token", path, form(), nil, 303, "/rollouts/5c0ffee15c0ffee1"},
		{"back to a base", "/rollouts/ba5eba11", form("command", "rollback", "to", "f12", "atOnce", "true"), nil, 303, "/rollouts/ba5e0000ba5e0000"},
		{"no token", path, form("token", ""), nil, 401, "show the token"},
		{"another token", path, form("token", operateSecret+"0"), nil, 401, "is not the token"},
		{"the one for reading", path, form("token", readSecret), nil, 403, "for reading alone"},
		{"one that the browser has kept", path, form("token", ""), func(r *http.Request) { r.SetBasicAuth("a", operateSecret) }, 401, "show the token"},
		{"in the URL", path + "?token=" + operateSecret, form("token", ""), nil, 401, "show the token"},
		{"a value for certificates, without one", path, form("token", "", "csrf", strings.Repeat("0", 64)), nil, 401, "show the token"},
		{"another site", path, form(), header("Origin", "http://evil.example"), 403, "only this server&#39;s own page"},
		{"another site without a name", path, form(), header("Origin", "null"), 403, "only this server&#39;s own page"},
		{"a name that leads here", path, form(), func(r *http.Request) { r.Host = "evil.example" }, 421, "is not this server&#39;s name"},
		{"no form", path, form(), header("Content-Type", "text/plain"), 415, "for the page&#39;s own forms"},
		{"a large one", path, form("more", strings.Repeat("a", maxForm)), nil, 400, "can&#39;t be read"},
		{"no command", path, form("command", ""), nil, 400, "no command"},
		{"another command", path, form("command", "<b>explode"), nil, 400, "no command &#34;&lt;b&gt;explode&#34;"},
		{"no change", "/rollouts/f00", form(), nil, 404, "no change has the id f00"},
	} {
		m := someRollouts()
		code, location, text := submit(t, operated(t, m), c.path, c.form, c.change)
		if code == 303 {
			text = location
		}
		if code != c.code || !strings.Contains(text, c.want) || (len(m.told) == 1) != (c.code == 303) {
			t.Errorf("%s: %d %s, told %v; want %d %s", c.name, code, text, m.told, c.code, c.want)
		}
	}
}

// TestFormsWithCertificates checks that a form needs a value that only our own
// page has given to this operator, because a browser presents its certificate
// with any request.
func TestFormsWithCertificates(t *testing.T) {
	m := someRollouts()
	s := certified(t, m)
	valueFor := func(name string) string {
		r, w := httptest.NewRequest("GET", "/rollouts/5c0ffee15c0ffee1", nil), httptest.NewRecorder()
		withCertificate(name)(r)
		s.Handler().ServeHTTP(w, r)
		found := regexp.MustCompile(`name="csrf" value="([0-9a-f]{64})"`).FindStringSubmatch(w.Body.String())
		if found == nil {
			t.Fatalf("no form for %s in\n%s", name, w.Body)
		}
		return found[1]
	}
	for _, c := range []struct {
		name, who, csrf string
		code            int
	}{
		{"without the value", "ops", "", 403},
		{"with another's", "ops", valueFor("more-ops"), 403},
		{"with one of before", "ops", strings.Repeat("0", 64), 403},
		{"a reader with an operator's", "ann", valueFor("ops"), 403},
		{"with it", "ops", valueFor("ops"), 303},
	} {
		code, _, text := submit(t, s, "/rollouts/5c0ffee15c0ffee1", url.Values{"command": {"pause"}, "csrf": {c.csrf}}, withCertificate(c.who))
		if code != c.code || (len(m.told) == 1) != (code == 303) {
			t.Errorf("%s: %d %s, told %v; want %d", c.name, code, text, m.told, c.code)
		}
	}
	if len(m.told) != 1 || m.told[0].By != "ops" {
		t.Errorf("told %v", m.told)
	}
	if code, _, _ := submit(t, s, "/rollouts/5c0f", url.Values{"command": {"pause"}, "csrf": {valueFor("ops")}}, func(r *http.Request) {
		withCertificate("ops")(r)
		r.Header.Set("Origin", "https://evil.example")
	}); code != 403 {
		t.Errorf("from another site, with the value: %d", code)
	}
}

// TestButtonsAreForWhoMay checks that the page only offers commands that the
// viewer may execute.
func TestButtonsAreForWhoMay(t *testing.T) {
	page := func(s *Server, path, who string) string {
		r, w := httptest.NewRequest("GET", path, nil), httptest.NewRecorder()
		if who != "" {
			withCertificate(who)(r)
		}
		s.Handler().ServeHTTP(w, r)
		return w.Body.String()
	}
	none := operated(t, someRollouts())
	none.opts.Operators.Token = nil
	token, certs := operated(t, someRollouts()), certified(t, someRollouts())
	rolledBack := operated(t, someRollouts())
	rolledBack.opts.Rollouts.(*mover).st.Held[0].By = "ba5eba11ba5eba11"
	const change = "/rollouts/5c0ffee15c0ffee1"
	for _, c := range []struct {
		name string
		page string
		want []string
		not  []string
	}{
		{"nobody may", page(none, change, ""), []string{"xds-server runs without --operate-token-file"}, []string{"<form", "<button"}},
		{"nobody may go back", page(none, "/rollouts", ""), []string{"What was in force"}, []string{"<form", "<button"}},
		{"by a token", page(token, change, ""), []string{`<form class="operate" method="post" action="/rollouts/5c0ffee15c0ffee1">`, `type="password" name="token"`, `value="pause"`, `value="stop"`, `value="promote"`}, []string{`value="resume"`, `value="rollback"`, "csrf"}},
		{"an operator", page(certs, change, "ops"), []string{`value="pause"`, `name="csrf"`}, []string{`type="password"`}},
		{"a reader", page(certs, change, "ann"), []string{"Your certificate is for reading"}, []string{"<form", "<button", "csrf"}},
		{"stopped", page(token, "/rollouts/0ddba11d", ""), []string{`value="resume"`}, []string{`value="pause"`, `value="promote"`}},
		{"done", page(token, "/rollouts/ba5eba11", ""), []string{`value="rollback"`, `name="atOnce"`}, []string{`value="pause"`}},
		{"rolled back", page(rolledBack, "/rollouts/ba5eba11", ""), []string{`value="resume"`, "follow the files"}, []string{`value="rollback"`}},
		{"a base to go back to", page(token, "/rollouts", ""), []string{`<option value="ba5e0000ba5e0000">`, `action="/rollouts/ba5eba11ba5eba11"`}, []string{`<option value="ba5eba11ba5eba11">`}},
	} {
		wantIn(t, c.page, c.want...)
		for _, text := range c.not {
			if strings.Contains(c.page, text) {
				t.Errorf("%s: %q is in the page", c.name, text)
			}
		}
	}
}

func TestChangePage(t *testing.T) {
	s := operated(t, someRollouts())
	_, page := get(t, s.Handler(), "/rollouts/5c0ffee15c0ffee1")
	wantIn(t, page,
		"in wave 2 of 3: 1 of 2 Envoys run it", `aria-label="wave 1, tier=canary: 1 of 1 Envoy"`, `aria-label="wave 2, 5 %: 1 of 2 Envoys"`,
		`aria-label="wave 3, 100 %: 0 of 40 Envoys"`, `aria-label="5xx at the end: new 1 %, control 0 %"`,
		`aria-label="Latency, the slow ones at the end: new 12 ms, control 12 ms"`, `aria-label="VM crashes in all: new 0, control 0"`, `<path class="new" d="M50 100h0L150 `, "wave 2 begins",
		`<a href="/envoys/edge-07">edge-07</a>`, "84 of 200 requests", `class="removed"`, "order: 1", "by policy careful", "1a2b3c4d",
	)
	_, page = get(t, s.Handler(), "/rollouts")
	wantIn(t, page, "1 change stopped", "quota crashed 3 times on edge-07", "filter quota is not what the files say", `aria-current="page">Changes</a>`, "in force on all Envoys")
	_, page = get(t, s.Handler(), "/?findings=all")
	wantIn(t, page, "The change to quota is stopped", "quota crashed 3 times on edge-07", "The change to hello is rolling", `<a href="/rollouts/5c0ffee15c0ffee1">hello changed</a>`)
	if code, _ := get(t, s.Handler(), "/rollouts/nowhere"); code != 404 {
		t.Errorf("%d for a change that is not there", code)
	}
	l := someLoaded()
	l.Held = Held{ID: "removal-0123456789ab", Definitions: 5, Of: 6}
	s.Loaded(l)
	_, page = get(t, s.Handler(), "/rollouts")
	wantIn(t, page, "5 of 6 definitions would be removed at once", `action="/rollouts/removal-0123456789ab"`)
	m := s.opts.Rollouts.(*mover)
	if code, location, _ := submit(t, s, "/rollouts/removal-0123456789ab", url.Values{"command": {"promote"}, "token": {operateSecret}}, nil); code != 303 || location != "/rollouts" || len(m.told) != 1 {
		t.Errorf("%d %s, told %v", code, location, m.told)
	}
}

// TestRolloutPagesOfOddText checks hostile text from definitions, policies,
// Envoys and judges.
func TestRolloutPagesOfOddText(t *testing.T) {
	const odd = "<script>alert(1)</script>\"'`>\u202e\x1b[2J"
	m := someRollouts()
	c := &m.st.Changes[0]
	c.Title, c.Words, c.Reason, c.Policy = odd, odd, odd, odd
	c.Waves[1].Name = odd
	c.Definitions = []rollout.DefinitionStatus{{Kind: odd, Name: odd, What: odd, From: odd, To: odd, Diff: []textdiff.Line{{Class: "added", Text: odd}}},
		{Kind: "filter", Name: odd, What: "added"}}
	c.Cohorts = &rollout.CohortsStatus{New: []string{odd}, Control: []string{odd}}
	c.Judges = []rollout.VerdictStatus{{Judge: odd, Verdict: rollout.Good, Words: odd}}
	m.st.Bases[1].Title, m.st.Bases[1].ID, m.st.Bases[0].ID = odd, odd, odd+"0"
	m.st.Held[0].Kind, m.st.Held[0].Name, m.st.Held[0].By = odd, odd, odd
	m.st.Stalled = odd
	s := operated(t, m)
	for _, path := range []string{"/", "/rollouts", "/rollouts/5c0ffee15c0ffee1", "/rollouts/" + url.PathEscape(odd), "/api/v1/rollouts", "/api/v1/rollouts/" + url.PathEscape(odd), "/api/v1/status"} {
		_, page := get(t, s.Handler(), path)
		if printable.Lines(page) != page || !strings.HasPrefix(path, "/api/") && strings.Contains(page, "<script>alert") {
			t.Errorf("%s:\n%s", path, page)
		}
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/rollouts", nil))
	if w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("JSON is sent as %v", w.Header())
	}
}

// TestTimelineNamesAuthors checks that the author of an object is shown only
// for its newest change.
func TestTimelineNamesAuthors(t *testing.T) {
	change := func(id, name string) rollout.ChangeStatus {
		return rollout.ChangeStatus{ID: id, Title: name, State: rollout.Done, Definitions: []rollout.DefinitionStatus{{Kind: filterKind, Name: name, What: "changed"}}}
	}
	of := origins{"auth": {"WasmFilter shop/auth", "argocd-controller"}, "hello": {"/etc/wasmxds/hello.yaml", ""}}
	var got []string
	for _, v := range viewTimeline([]rollout.ChangeStatus{change("3", "auth"), change("2", "hello"), change("1", "auth")}, of, 9) {
		got = append(got, fmt.Sprint(v.ID, v.Files, v.By))
	}
	want := "3[WasmFilter shop/auth] [argocd-controller] 2[/etc/wasmxds/hello.yaml] [] 1[WasmFilter shop/auth] []"
	if strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestPagesAskOnce checks that a page requests the status of changes once,
// since with several replicas it may take a request to another server.
func TestPagesAskOnce(t *testing.T) {
	for _, away := range []error{nil, errors.New("nobody leads")} {
		m := someRollouts()
		m.away = away
		s := operated(t, m)
		for _, path := range []string{"/", "/filters", "/filters/hello", "/envoys", "/envoys/edge-1"} {
			m.asked = 0
			code, page := get(t, s.Handler(), path)
			if code != 200 || m.asked != 1 {
				t.Errorf("%s: %d, asked %d times", path, code, m.asked)
			}
			if path == "/" && strings.Contains(page, "nobody leads") != (away != nil) {
				t.Errorf("%s, but the page has %s", away, page)
			}
		}
	}
}
