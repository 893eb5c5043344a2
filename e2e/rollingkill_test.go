package e2e

import (
	"fmt"
	"testing"
	"time"

	"wasmxds/e2e/harness"
)

// TestKilledInWaves: an xds-server that is killed at any point of a rollout goes on
// where it was. No Envoy is ahead of its wave, none goes back, and no request is
// lost.
func TestKilledInWaves(t *testing.T) {
	eachCombination(t, func(t *testing.T, c combination) {
		r := roll(t, c, 4, shop, killedPolicy)
		// A wave waits for the Envoys that the server before has written down, half a
		// second after they came, or when it ended. This one is to know all of them.
		must(t, r.server.Stop())
		must(t, r.server.Start(r.ctx))
		// Of half of them it is two, and one that comes back to a server that did not
		// know of it when the wave began.
		r.killed(r.restartServer, []int{1, 3, 4})
	})
}

const killedPolicy = "waves: [1, 50%, 100%]\nbake: 2s\nstop: " + atOnceAlone + "\n"

// killed has a change go through its waves while the server is killed, by restart, over
// and over. At most so many Envoys may have it, by wave.
func (r *rolling) killed(restart func(), most []int) {
	t := r.t
	t.Helper()
	written := time.Now()
	r.hello("new")
	had := 0 // Envoys that have had it
	for kills := 0; ; {
		restart() // whatever it is at
		kills++
		var change harness.Change
		// Sometimes it is killed as it has just begun, sometimes in a wave's middle.
		r.eventually(func() (err error) {
			now := 0
			for _, l := range r.loads {
				if !l.LastSeen("x-hello", "new").IsZero() {
					now++
				}
			}
			if change, err = r.server.Newest(t.Context(), "hello", written.Add(-time.Second)); err != nil {
				return err
			}
			if change.State != "done" && now > most[max(0, min(change.Wave, len(most))-1)] {
				t.Errorf("%d Envoys have it, in wave %d", now, change.Wave)
			}
			if now == had && change.State != "done" {
				return fmt.Errorf("%d Envoys have it: %s", now, change.Words)
			}
			had = now
			return nil
		})
		if change.State == "done" {
			t.Logf("done after %v, with %d kills", time.Since(written).Round(time.Millisecond), kills)
			break
		}
	}
	for i, l := range r.loads {
		r.seen(l, written, "x-hello", "new")
		r.eventually(func() error { // it may have come back when all others were done
			if last := l.LastSeen("x-hello", "good"); last.After(time.Now().Add(-50 * time.Millisecond)) {
				return fmt.Errorf("%s still has what was before", r.edges[i].id)
			}
			return nil
		})
		r.good(l)
	}
}
