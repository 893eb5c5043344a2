package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"wasmxds/definition"
	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/state"
	"wasmxds/state/statetest"
)

// driven is a Server whose changes are moved by a real driver, for four Envoys
// that immediately run what they should.
type driven struct {
	*Server
	*driver.Driver
	t *testing.T

	mu   sync.Mutex
	plan *rollout.Plan
}

// drive runs a story.
func drive(t *testing.T, story func(d *driven)) {
	t.Helper()
	dir := t.TempDir()
	p := statetest.Start(t, dir)
	defer p.End()
	d := &driven{t: t}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	d.start(ctx, &running, p.Writer)
	defer running.Wait()
	defer cancel()
	story(d)
}

func (d *driven) start(ctx context.Context, running *sync.WaitGroup, kept *state.Writer) {
	m, err := driver.New(ctx, driver.Options{
		State: kept, Log: slog.New(slog.DiscardHandler),
		Publish: func(p *rollout.Plan) { d.mu.Lock(); defer d.mu.Unlock(); d.plan = p },
		Told:    func(t rollout.Told) { d.Server.RolloutTold(t) },
	})
	if err != nil {
		d.t.Fatal(err)
	}
	d.Driver, d.Server = m, New(Options{Fleet: fleet{}, Rollouts: m, Operators: Operators{Token: tokenOf(d.t, operateSecret)}})
	d.Server.Loaded(someLoaded())
	running.Go(func() { m.Run(ctx) })
	for i := range 4 {
		m.Tell(rollout.Connected{Node: drivenNode(i)})
	}
}

func drivenNode(i int) definition.Node { return definition.Node{ID: fmt.Sprintf("edge-%d", i)} }

// say sets the version of hello in the files. Its policy has a first wave of
// one.
func (d *driven) say(version string) {
	f := &definition.Filter{Name: "hello", Kind: "WasmFilter", RootID: version, Module: definition.Module{Fetch: definition.Mirror}, Attach: definition.Everywhere()}
	policy := &definition.Rollout{Name: "careful", Definitions: []string{"*"}, Waves: []definition.Wave{{Count: 1}, {Share: 1}},
		Bake: time.Hour, Stop: definition.Stop{Refused: 1, Crashes: 1, Restarts: 2}, Then: definition.Rollback}
	d.Tell(rollout.Wanted{Set: &module.Set{
		Filters:  []*module.Filter{{Definition: f, Wanted: f, State: module.Good, Module: module.Info{SHA256: strings.Repeat(version, 32)}}},
		Rollouts: []*definition.Rollout{policy},
	}})
}

// settle makes all Envoys run what they should run now.
func (d *driven) settle() {
	d.t.Helper()
	if _, err := d.Driver.Status(d.t.Context()); err != nil { // all events have been processed
		d.t.Fatal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range 4 {
		if d.plan != nil {
			d.Tell(rollout.Settled{ID: drivenNode(i).ID, Choice: d.plan.Choose(drivenNode(i))})
		}
	}
}

// await waits until wrong returns "".
func (d *driven) await(wrong func() string) {
	d.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		d.settle()
		said := wrong()
		switch {
		case said == "":
			return
		case time.Now().After(deadline):
			d.t.Fatal(said)
		}
	}
}

// run waits until the given numbers of Envoys run each version.
func (d *driven) run(want string) {
	d.t.Helper()
	d.await(func() string {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.plan == nil {
			return "there is no plan"
		}
		n := map[string]int{}
		for i := range 4 {
			set := d.plan.Base
			if choice := d.plan.Choose(drivenNode(i)); choice != "" {
				set = d.plan.Sets[choice]
			}
			n[set.Filters[0].Definition.RootID]++
		}
		if got := strings.Trim(fmt.Sprint(n), "map[]"); got != want {
			return fmt.Sprintf("Envoys run %s, want %s", got, want)
		}
		return ""
	})
}

// newest returns the first change in the API's list.
func (d *driven) newest() rollout.ChangeStatus {
	d.t.Helper()
	all := d.all()
	if len(all.Changes) == 0 {
		d.t.Fatal("there is no change")
	}
	return all.Changes[0]
}

func (d *driven) all() *Rollouts {
	d.t.Helper()
	_, text := get(d.t, d.Server.Handler(), "/api/v1/rollouts")
	all := new(Rollouts)
	if err := json.Unmarshal([]byte(text), all); err != nil {
		d.t.Fatalf("%v: %s", err, text)
	}
	return all
}

// does executes a command and returns the resulting change.
func (d *driven) does(id string, verb rollout.Verb, body string) rollout.ChangeStatus {
	d.t.Helper()
	code, text := command(d.t, d.Server, id+"/"+string(verb), body)
	var o Operation
	if err := json.Unmarshal([]byte(text), &o); code != 200 || err != nil || o.Change == nil {
		d.t.Fatalf("%s %s: %d %v %s", verb, id, code, err, text)
	}
	return *o.Change
}

// has waits until the newest change is in a state, and Envoys run the given
// versions.
func (d *driven) has(state rollout.State, runs string) {
	d.t.Helper()
	d.run(runs)
	d.await(func() string {
		if c := d.newest(); c.State != state {
			return fmt.Sprintf("%s is %s (%s), want %s", c.ID, c.State, c.Words, state)
		}
		return ""
	})
}

// TestByHand moves real changes by the API from start to end.
func TestByHand(t *testing.T) {
	drive(t, func(d *driven) {
		d.say("v1")
		d.say("v2")
		d.has(rollout.Rolling, "v1:3 v2:1")
		id := d.newest().ID

		d.does(id[:6], rollout.Pause, "")
		d.has(rollout.Paused, "v1:3 v2:1")
		if code, text := command(t, d.Server, id+"/pause", ""); code != 409 || !strings.Contains(text, "is paused") {
			t.Errorf("paused once more: %d %s", code, text)
		}
		d.does(id, rollout.Resume, "{}")
		d.has(rollout.Rolling, "v1:3 v2:1")
		d.does(id, rollout.Stop, "")
		d.has(rollout.Stopped, "v1:4")
		if st, err := d.read(); err != nil || st.Stopped("hello") == nil || st.Done("", "", Quorum{}) {
			t.Errorf("%v, the status says it is in place: %+v", err, st.Rollouts)
		}
		d.does(id, rollout.Resume, "")
		d.has(rollout.Rolling, "v1:3 v2:1")
		d.does(id, rollout.Promote, "")
		d.has(rollout.Done, "v2:4")

		// A rollback also goes in waves, and ends by a command.
		back := d.does(id, rollout.Rollback, "")
		if back.ID == id || back.State != rollout.Rolling && back.State != rollout.Waiting {
			t.Errorf("what undoes it is %+v", back)
		}
		d.has(rollout.Rolling, "v1:1 v2:3")
		d.does(back.ID, rollout.Promote, "")
		d.run("v1:4") // rolled back
		if all := d.all(); len(all.Held) != 1 || all.Held[0].By != id {
			t.Errorf("nothing says that it is rolled back: %+v", all.Held)
		}
		if st, err := d.read(); err != nil || st.Done("", "", Quorum{}) || !st.rolledBack("hello") {
			t.Errorf("%v, the status says it is in place: %+v", err, st.RolledBack)
		}
		d.does(id, rollout.Resume, "")
		d.run("v1:3 v2:1") // the rollback has ended
	})
}

// TestBackToABase rolls back several changes, including to the first state.
func TestBackToABase(t *testing.T) {
	drive(t, func(d *driven) {
		d.say("v1")
		d.run("v1:4")
		var ids []string
		for i, v := range []string{"v2", "v3", "v4"} {
			d.say(v)
			d.has(rollout.Rolling, fmt.Sprintf("v%d:3 %s:1", i+1, v))
			id := d.newest().ID
			ids = append(ids, id)
			d.does(id, rollout.Promote, "")
			d.has(rollout.Done, v+":4")
		}
		if code, text := command(t, d.Server, ids[0]+"/rollback", `{"to": "`+ids[1]+`"}`); code != 409 {
			t.Errorf("what joined before: %d %s", code, text)
		}
		d.does(ids[2], rollout.Rollback, `{"to": "`+ids[0]+`", "atOnce": true}`)
		d.has(rollout.Done, "v2:4") // back to the first change
		d.does(d.all().Bases[0].ID, rollout.Rollback, `{"to": "before-`+ids[0][:8]+`", "atOnce": true}`)
		d.run("v1:4")      // back to the first state
		d.say("v5")        // a new change starts from there
		d.run("v1:3 v5:1") // the files differ from what is in force
	})
}

// read returns the status from the API.
func (d *driven) read() (*Status, error) {
	_, text := get(d.t, d.Server.Handler(), "/api/v1/status")
	st := new(Status)
	return st, json.Unmarshal([]byte(text), st)
}
