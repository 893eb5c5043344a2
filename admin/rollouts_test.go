package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/textdiff"
	"wasmxds/xds"
)

var _ Mover = (*driver.Driver)(nil)

// mover is a Mover that records commands.
type mover struct {
	mu    sync.Mutex
	st    rollout.Status
	told  []rollout.Command
	asked int                   // number of calls of Status
	err   error                 // returned by Do
	away  error                 // returned by Status
	then  func(*rollout.Status) // effect of a command
}

func (m *mover) Status(context.Context) (rollout.Status, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.st, m.away
}

func (m *mover) Do(_ context.Context, c rollout.Command) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.told = append(m.told, c)
	if m.then != nil {
		m.then(&m.st)
	}
	return m.err
}

func at(minutes float64) time.Time { return noon.Add(time.Duration(minutes * float64(time.Minute))) }

// someRollouts has a change in its second wave, one that was stopped, and two
// that are done.
func someRollouts() *mover {
	points := func(errors float64) (all []rollout.Point) {
		for i := range 3 {
			all = append(all, rollout.Point{Requests: 200, Errors: errors * float64(i), Median: 0.004, Slow: 0.012})
		}
		return all
	}
	waves := []rollout.WaveStatus{
		{Name: "tier=canary", Envoys: 1, Began: at(-5), Good: at(-4.9), Ended: at(-2.9)},
		{Name: "5 %", Envoys: 2, Began: at(-2.9)},
		{Name: "100 %", Envoys: 40},
	}
	return &mover{st: rollout.Status{
		Changes: []rollout.ChangeStatus{
			{
				ID: "5c0ffee15c0ffee1", Title: "hello", State: rollout.Rolling, Words: "in wave 2 of 3: 1 of 2 Envoys run it",
				Definitions: []rollout.DefinitionStatus{{Kind: "filter", Name: "hello", What: "changed", From: "1a2b3c4d", To: "5e6f7a8b", Diff: []textdiff.Line{
					{Class: "same", Text: "name: hello"}, {Class: "removed", Text: "order: 1"}, {Class: "added", Text: "order: 2"}}}},
				Policy: "careful", Opened: at(-5), Wave: 2, Waves: waves, Concerned: 40, Reached: 2, Settled: 1,
				Cohorts: &rollout.CohortsStatus{New: []string{"edge-07", "edge-31"}, Control: []string{"edge-11", "edge-18"}},
				Judges:  []rollout.VerdictStatus{{Judge: "signals", Verdict: rollout.NoTraffic, Words: "84 of 200 requests"}},
				Curves:  &rollout.Curves{Step: 10 * time.Second, From: at(-3), Began: at(-2.9), New: points(1), Control: points(0)},
			},
			{
				ID: "0ddba11d0ddba11d", Title: "quota", State: rollout.Stopped,
				Words:       "stopped in wave 1 of 3 after 2 s: quota crashed 3 times on edge-07; its 1 Envoy is back at what it was",
				Reason:      "quota crashed 3 times on edge-07",
				Definitions: []rollout.DefinitionStatus{{Kind: "filter", Name: "quota", What: "added", To: "99aabbcc"}},
				Policy:      "careful", Opened: at(-30), Wave: 1, Waves: []rollout.WaveStatus{{Name: "1 Envoy", Envoys: 1, Began: at(-30)}},
				Concerned: 40, Judges: []rollout.VerdictStatus{{Judge: "signals", Verdict: rollout.Bad, Words: "3 crashes"}},
			},
			{ID: "ba5eba11ba5eba11", Title: "web", State: rollout.Done, Words: "in force on all Envoys", Opened: at(-60), Ended: at(-50),
				Definitions: []rollout.DefinitionStatus{{Kind: "listener", Name: "web", What: "changed", From: "11111111", To: "22222222"}},
				Waves:       []rollout.WaveStatus{}, Judges: []rollout.VerdictStatus{}, Concerned: 40, Reached: 40, Settled: 40},
			{ID: "ba5e0000ba5e0000", Title: "web, hello", State: rollout.Done, Words: "in force on all Envoys", Opened: at(-90), Ended: at(-80),
				Definitions: []rollout.DefinitionStatus{}, Waves: []rollout.WaveStatus{}, Judges: []rollout.VerdictStatus{}},
		},
		Bases: []rollout.BaseStatus{
			{ID: "ba5eba11ba5eba11", Title: "web", At: at(-50)}, {ID: "ba5e0000ba5e0000", Title: "web, hello", At: at(-80)}, {ID: "f1257000f1257000", Title: "the first", At: at(-99)},
		},
		Held: []rollout.HeldStatus{{Kind: "filter", Name: "quota", Files: "99aabbcc", Since: at(-29.9), By: "0ddba11d0ddba11d"}},
	}}
}

// operated returns a Server whose changes can be moved with operateSecret.
func operated(t *testing.T, m *mover) *Server {
	t.Helper()
	s := New(Options{Version: "v1.2.3", Fleet: someFleet(), Now: func() time.Time { return noon }, Rollouts: m,
		Operators: Operators{Token: tokenOf(t, operateSecret), Reading: tokenOf(t, readSecret)},
		Release: func(_ context.Context, id string) error {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.told = append(m.told, rollout.Command{Verb: "release", ID: id})
			return m.err
		}})
	s.Loaded(someLoaded())
	return s
}

// command posts to the API.
func command(t *testing.T, s *Server, path, body string) (int, string) {
	t.Helper()
	r, w := httptest.NewRequest("POST", "/api/v1/rollouts/"+path, strings.NewReader(body)), httptest.NewRecorder()
	r.Host = "localhost:19000"
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+operateSecret)
	s.Handler().ServeHTTP(w, r)
	text, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(text)
}

func TestCommands(t *testing.T) {
	const rolling, stopped, newest, older = "5c0ffee15c0ffee1", "0ddba11d0ddba11d", "ba5eba11ba5eba11", "ba5e0000ba5e0000"
	of := func(verb rollout.Verb, id string) rollout.Command {
		return rollout.Command{Verb: verb, ID: id, By: byToken}
	}
	back := func(id string, later, atOnce bool) rollout.Command {
		return rollout.Command{Verb: rollout.Rollback, ID: id, Later: later, AtOnce: atOnce, By: byToken}
	}
	none := rollout.Command{}
	for _, c := range []struct {
		path, body string
		err        error
		code       int
		text       string
		told       rollout.Command
	}{
		{"5c0ffee15c0ffee1/pause", "", nil, 200, `"done": "pause"`, of(rollout.Pause, rolling)},
		{"5c0f/pause", "{}", nil, 200, `"id": "5c0ffee15c0ffee1"`, of(rollout.Pause, rolling)},
		{"0dd/resume", "{}", nil, 200, `"state": "stopped"`, of(rollout.Resume, stopped)},
		{"5c0f/promote", " {} \n", nil, 200, `"done": "promote"`, of(rollout.Promote, rolling)},
		{"5c0f/stop", "{}", nil, 200, `"done": "stop"`, of(rollout.Stop, rolling)},
		{"ba5eb/rollback", "", nil, 200, `"done": "rollback"`, back(newest, false, false)},
		{"ba5eb/rollback", `{"atOnce": true}`, nil, 200, `"done": "rollback"`, back(newest, false, true)},
		{"ba5eb/rollback", `{"to": "ba5e0"}`, nil, 200, `"done": "rollback"`, back(newest, true, false)},
		{"ba5eb/rollback", `{"to": "f12"}`, nil, 200, `"id": "ba5e0000ba5e0000"`, back(older, true, false)},
		{"ba5e0/rollback", `{"to": "f12", "atOnce": true}`, nil, 200, `"done": "rollback"`, back(older, true, true)},
		{"ba5e0/rollback", `{"to": "ba5e0"}`, nil, 409, "did not join after base ba5e0000ba5e0000", none},
		{"5c0f/rollback", `{"to": "f12"}`, nil, 409, "change 5c0ffee15c0ffee1 did not join after base", none},
		{"ba5eb/rollback", `{"to": "ba5eb"}`, nil, 409, "there is nothing to go back from", none},
		{"ba5eb/rollback", `{"to": "ba5e"}`, nil, 409, "several bases begin with ba5e", none},
		{"ba5eb/rollback", `{"to": "nowhere"}`, nil, 404, "no base has the id nowhere", none},
		{"ba5/promote", "", nil, 409, "several changes begin with ba5, ba5eba11ba5eba11 and ba5e0000ba5e0000 among them", none},
		{"f00/promote", "", nil, 404, "no change has the id f00: GET /api/v1/rollouts", none},
		{"removal-/promote", "", nil, 404, "no change has the id", none},
		{"5c0f/explode", "", nil, 404, "there is no command explode; there are [pause resume promote stop rollback]", none},
		{"5c0f/pause", `{"atOnce": true}`, nil, 400, "are for rollback, not for pause", none},
		{"ba5eb/rollback", `{"atOnce": "yes"}`, nil, 400, `read as JSON like {"to": "BASE", "atOnce": true}`, none},
		{"ba5eb/rollback", `{"wave": 3}`, nil, 400, `unknown field "wave"`, none},
		{"ba5eb/rollback", `{} {"atOnce": true}`, nil, 400, "more than one value", none},
		{"ba5eb/rollback", `to=f12`, nil, 400, "is read as JSON", none},
		{"ba5eb/rollback", `{"to": "` + strings.Repeat("a", maxCommand) + `"}`, nil, 413, "larger than 4096 bytes", none},
		{"ba5eb/rollback", strings.Repeat(" ", maxCommand+1), nil, 413, "larger than 4096 bytes", none},
		{"0dd/pause", "", fmt.Errorf("quota is stopped: %w", rollout.ErrNot), 409, "quota is stopped: the change is not in the state for that", of(rollout.Pause, stopped)},
		{"0dd/pause", "", fmt.Errorf("0ddba11d: %w", rollout.ErrUnknown), 404, "there is no such change", of(rollout.Pause, stopped)},
		{"0dd/pause", "", context.DeadlineExceeded, 503, "deadline", of(rollout.Pause, stopped)},
		{"0dd/pause", "", errors.New("the state can't be written"), 500, "the state can't be written", of(rollout.Pause, stopped)},
	} {
		m := someRollouts()
		m.err = c.err
		code, text := command(t, operated(t, m), c.path, c.body)
		var told rollout.Command
		if len(m.told) > 0 {
			told = m.told[0]
		}
		if code != c.code || !strings.Contains(text, c.text) || told != c.told || len(m.told) > 1 {
			t.Errorf("%s %.60s: %d %s\ntold %+v; want %d %s\n%+v", c.path, c.body, code, text, m.told, c.code, c.text, c.told)
		}
	}
}

// TestRollbackIsAChange checks that the result is the change that undoes, and
// the oldest base is the state before everything that is stored.
func TestRollbackIsAChange(t *testing.T) {
	m := someRollouts()
	m.then = func(st *rollout.Status) {
		back := rollout.ChangeStatus{ID: "bac0bac0bac0bac0", Title: "web", State: rollout.Rolling, Words: "in wave 1 of 3", Opened: noon}
		st.Changes = append([]rollout.ChangeStatus{back}, st.Changes...)
	}
	s := operated(t, m)
	if _, text := get(t, s.Handler(), "/api/v1/rollouts"); !strings.Contains(text, `"id": "before-f1257000f1257000",
      "title": "before the first"
    }`) {
		t.Errorf("no oldest base in %s", text)
	}
	code, text := command(t, s, "ba5eb/rollback", `{"to": "before-f12"}`)
	if want := (rollout.Command{Verb: rollout.Rollback, ID: "f1257000f1257000", Later: true, By: byToken}); code != 200 || len(m.told) != 1 || m.told[0] != want {
		t.Errorf("%d, told %+v, want %+v", code, m.told, want)
	}
	if !strings.Contains(text, `"id": "bac0bac0bac0bac0"`) {
		t.Errorf("what comes of it is %s", text)
	}
}

// TestMoverIsAway checks that nothing counts as done while the status of
// changes is not known.
func TestMoverIsAway(t *testing.T) {
	m := someRollouts()
	m.away = errors.New("it is busy")
	s := operated(t, m)
	for path, want := range map[string]int{
		"/api/v1/status": 503, "/api/v1/rollouts": 503, "/api/v1/rollouts/5c0f": 503, "/rollouts": 503, "/rollouts/5c0f": 503, "/": 200, "/metrics": 200,
	} {
		if code, text := get(t, s.Handler(), path); code != want || code == 503 && !strings.Contains(text, "(it is busy): try again") {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
	if code, text := command(t, s, "5c0f/pause", ""); code != 503 || len(m.told) > 0 {
		t.Errorf("a command: %d %s", code, text)
	}
}

// TestHeldRemovalIsPromoted checks promotion by the id of a removal, which no
// other removal has.
func TestHeldRemovalIsPromoted(t *testing.T) {
	m := someRollouts()
	s := operated(t, m)
	l := someLoaded()
	l.Held = Held{ID: "removal-0123456789ab", Definitions: 5, Of: 6}
	s.Loaded(l)
	if _, text := get(t, s.Handler(), "/api/v1/rollouts"); !strings.Contains(text, `"removal": {
    "id": "removal-0123456789ab",
    "definitions": 5,
    "of": 6
  }`) {
		t.Errorf("no removal in %s", text)
	}
	for path, want := range map[string]int{
		"removal-0123456789ab/pause": 409, "removal-ffff/promote": 404, "rem/promote": 404,
	} {
		if code, text := command(t, s, path, ""); code != want || len(m.told) > 0 {
			t.Errorf("%s: %d %s, told %v; want %d", path, code, text, m.told, want)
		}
	}
	code, text := command(t, s, "removal-01/promote", "")
	if code != 200 || !strings.Contains(text, `"definitions": 5`) || len(m.told) != 1 || m.told[0].ID != l.Held.ID {
		t.Errorf("%d %s, told %v", code, text, m.told)
	}
	m.err = errors.New("no such removal is held back")
	if code, text := command(t, s, "removal-01/promote", ""); code != 409 || !strings.Contains(text, "remove 5 of 6 definitions: no such removal is held back") {
		t.Errorf("one that has just ended: %d %s", code, text)
	}
}

// TestCommandsNeedTheRight checks that permission is checked before anything
// else, and only POST is a command.
func TestCommandsNeedTheRight(t *testing.T) {
	m := someRollouts()
	s := operated(t, m)
	for _, method := range []string{"GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		r, w := httptest.NewRequest(method, "/api/v1/rollouts/5c0f/pause", strings.NewReader("{}")), httptest.NewRecorder()
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+operateSecret)
		if s.Handler().ServeHTTP(w, r); w.Code != 404 && w.Code != 405 || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	for _, path := range []string{"5c0f/pause", "nowhere/pause", "5c0f/explode", "removal-01/promote"} {
		r, w := httptest.NewRequest("POST", "/api/v1/rollouts/"+path, strings.NewReader("no JSON")), httptest.NewRecorder()
		r.Host = "localhost"
		r.Header.Set("Content-Type", "application/json")
		if s.Handler().ServeHTTP(w, r); w.Code != 401 || w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s without a token: %d %v", path, w.Code, w.Header())
		}
	}
	if len(m.told) > 0 {
		t.Errorf("told %v", m.told)
	}
}

// TestRolloutsWithoutAMover checks that nothing moves without policies, but a
// removal may be held back.
func TestRolloutsWithoutAMover(t *testing.T) {
	s := newServer(someFleet())
	if code, text := get(t, s.Handler(), "/api/v1/rollouts"); code != 200 || !strings.Contains(text, `"changes": []`) {
		t.Errorf("%d %s", code, text)
	}
	if code, _ := get(t, s.Handler(), "/api/v1/rollouts/a"); code != 404 {
		t.Errorf("%d", code)
	}
}

// TestDoneWithRollouts checks that a change in progress is not done, and a
// stopped one never will be.
func TestDoneWithRollouts(t *testing.T) {
	m := someRollouts()
	s := operated(t, m)
	_, text := get(t, s.Handler(), "/api/v1/status?limit=1")
	var st Status
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		t.Fatal(err)
	}
	if len(st.Rollouts) != 2 || st.Rollouts[0].Waves != 3 || st.Rollouts[0].Filters[0] != "hello" || len(st.RolledBack) != 1 {
		t.Errorf("%+v, %+v", st.Rollouts, st.RolledBack)
	}
	good := func(rollouts []Rollout, held []rollout.HeldStatus, states ...module.State) *Status {
		st := &Status{Ready: true, Envoys: xds.NodeCount{Connected: 1}, Rollouts: rollouts, RolledBack: held}
		for i, name := range []string{"hello", "quota", "other"} {
			state := module.Good
			if i < len(states) {
				state = states[i]
			}
			st.Filters = append(st.Filters, Filter{Name: name, State: state, FilterCount: xds.FilterCount{Nodes: 1, Running: 1}})
		}
		return st
	}
	for _, c := range []struct {
		title   string
		st      *Status
		name    string
		done    bool
		stopped string // title
	}{
		{"one rolls, one was stopped", good(st.Rollouts, st.RolledBack), "", false, "quota"},
		{"the one that rolls", good(st.Rollouts, nil), "hello", false, ""},
		{"the one that was stopped", good(st.Rollouts, nil), "quota", false, "quota"},
		{"another", good(st.Rollouts, st.RolledBack), "other", true, ""},
		{"a module for it is on its way", good(st.Rollouts, nil, module.Good, module.Fetching), "quota", false, ""},
		{"a module for something is on its way", good(st.Rollouts, nil, module.Fetching), "", false, ""},
		{"another's module is on its way", good(st.Rollouts, nil, module.Fetching), "quota", false, "quota"},
		{"rolled back", good(nil, st.RolledBack), "", false, ""},
		{"rolled back, of this filter", good(nil, st.RolledBack), "quota", false, ""},
		{"rolled back, of another filter", good(nil, st.RolledBack), "hello", true, ""},
		{"none", good(nil, nil), "", true, ""},
	} {
		stopped := ""
		if r := c.st.Stopped(c.name); r != nil {
			stopped = r.Title
		}
		if done := c.st.Done(c.name, "", Quorum{Min: 1}); done != c.done || stopped != c.stopped {
			t.Errorf("%s: done %v, stopped %q; want %v, %q", c.title, done, stopped, c.done, c.stopped)
		}
	}
}

// TestAPIDocument checks that the responses match docs/api.md.
func TestAPIDocument(t *testing.T) {
	const path = "../docs/api.md"
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := operated(t, someRollouts())
	examples := regexp.MustCompile("(?s)`(GET|POST) (/api/v1/[^`]*)`(?:, `([^`]*)`)?:\n\n```json\n(.*?)```\n")
	shown := 0
	doc := examples.ReplaceAllFunc(b, func(example []byte) []byte {
		shown++
		m := examples.FindSubmatch(example)
		var code int
		var text string
		if string(m[1]) == "GET" {
			code, text = get(t, s.Handler(), string(m[2]))
		} else {
			code, text = command(t, s, strings.TrimPrefix(string(m[2]), "/api/v1/rollouts/"), string(m[3]))
		}
		if code != http.StatusOK || !json.Valid([]byte(text)) {
			t.Errorf("%s %s: %d %s", m[1], m[2], code, text)
		}
		if text != string(m[4]) && !*update {
			t.Errorf("%s %s is shown as\n%s\nand is (-update writes it)\n%s", m[1], m[2], m[4], text)
		}
		head, _, _ := strings.Cut(string(example), "```json\n")
		return []byte(head + "```json\n" + text + "```\n")
	})
	if shown < 2 {
		t.Errorf("only %d examples were found", shown)
	}
	if *update {
		if err := os.WriteFile(path, doc, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
