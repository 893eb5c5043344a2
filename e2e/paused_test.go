package e2e

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"wasmxds/e2e/harness"
	"wasmxds/e2e/wasmtest"
)

const knewEnvoys = "Envoys were here before"

// startSteps are what a server that follows logs while it starts.
var startSteps = []string{"", knewEnvoys, "other xds-servers of the state", "msg=serving", "msg=published"}

// TestPausedInStart: a server that starts beside another is paused at each step of its start.
// Meanwhile a filter comes that no policy is for, and a change in its first wave is stopped and
// begins again. When the server continues, an Envoy that knows it alone has all that the others
// have, from its first request on, and none is ahead of its wave.
func TestPausedInStart(t *testing.T) {
	newestOrAll(t, func(t *testing.T, c combination) {
		j := startSeveral(t, c, 2, 2, slowPolicy)
		change, has := j.inWave("new", j.hello("new"))
		at := j.leader()
		leader, starts := j.servers[at], j.servers[1-at]
		steps := startSteps
		if !*all {
			steps = []string{"other xds-servers of the state", "msg=published"}
		}
		all := []string{"x-hello"}
		for i, step := range steps {
			if step == knewEnvoys {
				must(t, starts.Stop()) // else it may not have written down which
			}
			starts.Kill()
			j.server = leader
			j.haveComeOver()
			must(t, starts.StartPaused(j.ctx, step))
			name := fmt.Sprint("other-", i)
			written := j.write(name+".yaml", filter(name, j.module(wasmtest.Filter{Header: "x-" + name, Value: "1"})))
			for _, l := range j.loads {
				j.seen(l, written, "x-"+name, "1")
			}
			all = append(all, "x-"+name)
			kept := j.extra(j.edges[0], all)
			must(t, j.operate(leader, "stop", change))
			j.eventually(func() error {
				if now := j.have("new"); now != "" {
					return fmt.Errorf("it is stopped, and %q have it", now)
				}
				return nil
			})
			must(t, j.operate(leader, "resume", change)) // its wave may wait for the other's Envoys

			j.server = starts
			e := j.envoy(c, laterThan(has, fmt.Sprint("late-", i)), "--xds-address", starts.Addresses.XDS)
			must(t, starts.Continue(j.ctx))
			late := j.extra(e, all)
			t.Logf("paused at %q: a new Envoy serves %v after it continued", step, j.seen(late, time.Now(), "x-"+name, "1").Round(time.Millisecond))
			j.eventually(func() error {
				st, err := starts.Status(t.Context())
				if err == nil && stand(st) != "follows" {
					err = fmt.Errorf("it is %q: %+v", stand(st), st.Replicas)
				}
				return err
			})
			j.eventually(func() error {
				if now := j.have("new"); now != has {
					return fmt.Errorf("it is resumed, and %q have it", now)
				}
				return nil
			})
			j.settledIn("new", has)
			if !late.LastSeen("x-hello", "new").IsZero() {
				t.Error("the new Envoy is ahead of its wave")
			}
			j.good(late)
			j.good(kept)
		}
		must(t, j.promote(starts, change))
		j.eventually(func() error { return j.all("new") })
		j.ends()
	})
}

// laterThan returns an ID of an Envoy that is after another in the order of waves, so that it does
// not take its place when a change begins again.
func laterThan(other, id string) string {
	for n := 0; ; n++ {
		next := fmt.Sprint(id, "-", n)
		if a, b := sha256.Sum256([]byte(other)), sha256.Sum256([]byte(next)); bytes.Compare(a[:], b[:]) < 0 {
			return next
		}
	}
}

// extra puts another load on an Envoy, whose requests must all have these headers.
func (j *several) extra(e *edge, headers []string) *harness.Load {
	j.t.Helper()
	load := j.load
	load.Address, load.Headers = e.address("web"), headers
	l := harness.StartLoad(j.ctx, load)
	j.t.Cleanup(func() { l.Stop() })
	return l
}

// leadSteps are what a server logs when it takes the lead, and when it then moves a change.
var leadSteps = []string{"this server leads now", "rollout: resumed", "rollout: wave 1 of 2 begins"}

// TestPausedInLead: a server is paused for longer than its lease, at each step of taking the
// lead and of moving a change. Another leads meanwhile. When the first continues, nothing
// that it had under way is written, and no Envoy goes back or is ahead of its wave.
func TestPausedInLead(t *testing.T) {
	t.Parallel() // it mostly waits
	steps := leadSteps
	if !*all {
		steps = leadSteps[2:]
	}
	for _, step := range steps {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			newestOrAll(t, func(t *testing.T, c combination) {
				j := startSeveral(t, c, 2, 2, slowPolicy)
				change, has := j.inWave("new", j.hello("new"))
				at := j.leader()
				was, next := j.servers[at], j.servers[1-at]
				pauses, other := was, next
				var do func()
				var commands sync.WaitGroup
				t.Cleanup(commands.Wait)
				switch step {
				case "this server leads now":
					pauses, other = next, was
					do = was.Kill
				default:
					must(t, j.operate(was, "stop", change))
					do = func() { // it may be paused before it answers
						commands.Go(func() { _ = j.operate(was, "resume", change) })
					}
				}
				must(t, pauses.PauseAt(j.ctx, step, do))
				if other == was {
					must(t, was.Start(j.ctx))
				}
				i := 0
				if other == j.servers[1] {
					i = 1
				}
				j.leader(i)
				j.server = other
				j.haveComeOver()
				if now := j.have("new"); now != has && now != "" {
					t.Errorf("%q have it, want %q", now, has)
				}
				// It goes on by who leads now.
				j.eventually(func() error { return j.promote(other, change) })
				j.eventually(func() error { return j.all("new") })
				must(t, pauses.Continue(j.ctx))
				j.settled("new", j.servers...)
				if now := j.leader(); now != i {
					t.Error("who was paused leads again")
				}
				for _, s := range j.servers {
					c, err := s.Newest(t.Context(), "hello", time.Time{})
					if err != nil || c.State != "done" {
						t.Errorf("it is %s: %v", c.State, err)
					}
				}
				j.ends()
			})
		})
	}
}
