package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"wasmxds/admin"
	"wasmxds/module"
	"wasmxds/printable"
	"wasmxds/rollout"
)

// scriptedRollouts are those of the script.
func scriptedRollouts(t *testing.T) *admin.Rollouts {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/script/rollout.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		if f.Name != "rollouts.json" {
			continue
		}
		all := new(admin.Rollouts)
		if err := json.Unmarshal(f.Data, all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	t.Fatal("the script has no rollouts.json")
	return nil
}

func TestRolloutTables(t *testing.T) {
	now := time.Date(2020, 3, 1, 12, 0, 0, 0, time.UTC)
	all := scriptedRollouts(t)
	all.Stalled = "the state can't be written"
	all.Removal = &admin.Held{ID: "removal-0123456789ab", Definitions: 5, Of: 6}
	var got bytes.Buffer
	if err := printRollouts(&got, all, now); err != nil {
		t.Fatal(err)
	}
	got.WriteString("\n---\n\n")
	if err := printChange(&got, &all.Changes[0], now); err != nil {
		t.Fatal(err)
	}
	golden(t, "rollout.txt", got.Bytes())
}

// TestRolloutTablesOfOddText: a terminal can take what others have said.
func TestRolloutTablesOfOddText(t *testing.T) {
	const odd = "\x1b[2J\u202ea\nb\t"
	all := scriptedRollouts(t)
	all.Stalled = odd
	c := &all.Changes[0]
	c.ID, c.Title, c.Words, c.Policy, c.State = odd, odd, odd, odd, odd
	c.Waves[0].Name, c.Judges[0].Judge, c.Judges[0].Verdict, c.Judges[0].Words = odd, odd, odd, odd
	d := &c.Definitions[0]
	d.Kind, d.Name, d.What, d.From, d.To, d.Diff[0].Text = odd, odd, odd, odd, odd, odd
	c.Cohorts.New[0], c.Cohorts.Control[0] = odd, odd
	all.Bases[0] = rollout.BaseStatus{ID: odd, Title: odd}
	all.Held[0] = rollout.HeldStatus{Kind: odd, Name: odd, By: odd}
	st := &admin.Status{RolledBack: all.Held, Rollouts: []admin.Rollout{{ID: odd, Title: odd, State: odd, Words: odd}}}
	var got bytes.Buffer
	if err := printRollouts(&got, all, noonOfTable); err != nil {
		t.Fatal(err)
	}
	if err := printChange(&got, c, noonOfTable); err != nil {
		t.Fatal(err)
	}
	printUnfinished(&got, "", st, "")
	got.WriteString(stopped(&st.Rollouts[0]).Error())
	if text := got.String(); printable.Lines(text) != text || bytes.Contains(got.Bytes(), []byte("a\nb")) {
		t.Errorf("%q", text)
	}
}

var noonOfTable = time.Date(2020, 3, 1, 12, 0, 0, 0, time.UTC)

// TestStopWatch: a stop that may be of before the file that was just written is
// not what was waited for.
func TestStopWatch(t *testing.T) {
	var w stopWatch
	a, b := &admin.Rollout{ID: "a"}, &admin.Rollout{ID: "b"}
	for i, step := range []struct {
		after time.Duration
		now   *admin.Rollout
		want  *admin.Rollout
	}{
		{0, nil, nil},
		{0, a, nil},
		{settle - 1, a, nil},
		{settle - 1, nil, nil}, // the file was seen
		{settle, a, nil},
		{settle, b, nil},
		{2*settle - 1, b, nil},
		{2 * settle, b, b},
	} {
		if got := w.look(step.now, noonOfTable.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestLull: a file that was just written may become a change until it would have
// been noticed, and its module is no longer tried.
func TestLull(t *testing.T) {
	of := func(s module.State) *admin.Status {
		return &admin.Status{Ready: true, Filters: []admin.Filter{{State: module.Good}, {State: s}}}
	}
	good, tried, failed := of(module.Good), of(module.Fetching), of(module.Failed)
	var l lull
	for i, step := range []struct {
		after time.Duration
		now   *admin.Status
		want  bool
	}{
		{0, good, false},
		{settle - 1, good, false},
		{settle, tried, false},
		{10 * settle, tried, false},
		{10 * settle, good, false},
		{11*settle - 1, failed, false},
		{11 * settle, failed, true},
		{11 * settle, good, true},
		{12 * settle, &admin.Status{}, false}, // a server that has only just started
	} {
		if got := l.over(step.now, noonOfTable.Add(step.after)); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}

// TestMeant: who says no id means the only change that it can be, or nothing.
func TestMeant(t *testing.T) {
	of := func(states ...rollout.State) *admin.Rollouts {
		all := &admin.Rollouts{}
		for i, s := range states {
			all.Changes = append(all.Changes, rollout.ChangeStatus{ID: string(rune('a' + i)), State: s})
		}
		return all
	}
	removal := func(all *admin.Rollouts) *admin.Rollouts {
		all.Removal = &admin.Held{ID: "removal-1"}
		return all
	}
	bases := func(n int) *admin.Rollouts {
		all := of(rollout.Done)
		for i := range n {
			all.Bases = append(all.Bases, rollout.BaseStatus{ID: string(rune('p' + i))})
		}
		return all
	}
	held := func(all *admin.Rollouts, by ...string) *admin.Rollouts {
		for _, id := range by {
			all.Held = append(all.Held, rollout.HeldStatus{By: id})
		}
		return all
	}
	twice := of(rollout.Stopped, rollout.Done)
	twice.Changes[1].ID = "a"
	for _, c := range []struct {
		name string
		all  *admin.Rollouts
		verb rollout.Verb
		want string // "": an error
	}{
		{"the one that rolls", of(rollout.Done, rollout.Rolling, rollout.Superseded), rollout.Pause, "b"},
		{"none that could be paused", of(rollout.Done, rollout.Paused), rollout.Pause, ""},
		{"the paused one", of(rollout.Rolling, rollout.Paused), rollout.Resume, "b"},
		{"paused or stopped", of(rollout.Stopped, rollout.Paused), rollout.Resume, ""},
		{"two", of(rollout.Rolling, rollout.Waiting), rollout.Promote, ""},
		{"a stopped one is not promoted unasked", of(rollout.Stopped), rollout.Promote, ""},
		{"a removal", removal(of(rollout.Done, rollout.Stopped)), rollout.Promote, "removal-1"},
		{"a removal or a change", removal(of(rollout.Rolling)), rollout.Promote, ""},
		{"a removal is only promoted", removal(of(rollout.Rolling)), rollout.Stop, "a"},
		{"to stop a paused one", of(rollout.Paused), rollout.Stop, "a"},
		{"what is shown", of(rollout.Done, rollout.Stopped), "", "b"},
		{"what is shown, where none is open", of(rollout.Done, rollout.Done), "", "a"},
		{"what is shown, where there is none", of(), "", ""},
		{"the same that was done before", twice, "", "a"},
		{"the newest base is undone", bases(2), rollout.Rollback, "p"},
		{"nothing has joined yet", bases(0), rollout.Rollback, ""},
		{"a rollback ends", held(of(rollout.Done), "r", "r"), rollout.Resume, "r"},
		{"a rollback, or a paused one", held(of(rollout.Paused), "r"), rollout.Resume, ""},
		{"two rollbacks", held(of(), "r", "s"), rollout.Resume, ""},
	} {
		got, err := meant(c.all, c.verb)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}
