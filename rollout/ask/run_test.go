package ask

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
)

// judges answer by the host that is asked. Those named slow answer never, those
// named drip a byte a second.
type judges struct {
	now, most atomic.Int32 // that are asked at once
	all       atomic.Int32 // that were asked
}

func (j *judges) RoundTrip(req *http.Request) (*http.Response, error) {
	j.all.Add(1)
	j.most.Store(max(j.most.Load(), j.now.Add(1)))
	defer j.now.Add(-1)
	var body io.Reader = strings.NewReader(`{"verdict":"good","reason":"` + req.Host + `"}`)
	switch {
	case strings.HasPrefix(req.Host, "slow"):
		<-req.Context().Done()
		return nil, req.Context().Err()
	case strings.HasPrefix(req.Host, "drip"):
		body = drip{req.Context()}
	case strings.HasPrefix(req.Host, "away"):
		return nil, errors.New("no route to host")
	}
	return &http.Response{StatusCode: 200, Body: io.NopCloser(body), Request: req}, nil
}

type drip struct{ ctx context.Context }

func (d drip) Read(p []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		p[0] = ' '
		return 1, nil
	}
}

func policyOf(hosts ...string) *definition.Rollout {
	r := &definition.Rollout{Name: "careful"}
	for _, h := range hosts {
		r.Ask = append(r.Ask, webhookAt("http://"+h+"/"))
	}
	return r
}

// told collects what Run tells.
type told struct {
	mu  sync.Mutex
	all []string // "id wave: verdicts"
}

func (w *told) tell(c Change, said []rollout.VerdictStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	line := fmt.Sprintf("%s %d:", c.ID, c.Wave)
	for _, s := range said {
		line += fmt.Sprintf(" %s", s.Verdict)
	}
	w.all = append(w.all, line)
}

func (w *told) take() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.Sort(w.all)
	all := strings.Join(w.all, "\n")
	w.all = nil
	return all
}

// run has Run ask until the test's story ends.
func run(t *testing.T, story func(set func(...Open), w *told, j *judges)) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var open []Open
		w, j := &told{}, &judges{}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			New(j).Run(ctx, func() []Open {
				mu.Lock()
				defer mu.Unlock()
				return slices.Clone(open)
			}, w.tell)
		})
		story(func(now ...Open) {
			mu.Lock()
			defer mu.Unlock()
			open = now
		}, w, j)
		cancel()
		running.Wait()
	})
}

func TestRun(t *testing.T) {
	run(t, func(set func(...Open), w *told, _ *judges) {
		after := func(d time.Duration, want string) {
			t.Helper()
			time.Sleep(d)
			synctest.Wait()
			if got := w.take(); got != want {
				t.Errorf("told %q, want %q", got, want)
			}
		}
		after(Every/2, "") // nothing is open; and Run never looks at the same time as this
		a, b := Open{policyOf("a", "away"), Change{ID: "a", Wave: 1}}, Open{policyOf("slow", "b"), Change{ID: "b", Wave: 1}}
		none, without := Open{policyOf(), Change{ID: "none"}}, Open{nil, Change{ID: "without"}}
		set(a, b, none, without)
		after(Every, "a 1: good unable")
		a.Change.Wave = 2
		set(a, b)
		after(Every, "a 2: good unable\nb 1: unable good") // a does not wait for b
		set()
		time.Sleep(2 * Every) // what was begun ends
		w.take()
		after(2*Every, "")
	})
}

// TestSlowJudges: however many judges answer nothing, so many are asked at once
// as may be, and a look has an end.
func TestSlowJudges(t *testing.T) {
	run(t, func(set func(...Open), w *told, j *judges) {
		var slow []Open
		for i := range 4 {
			hosts := make([]string, 16)
			for k := range hosts {
				hosts[k] = []string{"slow", "drip"}[k%2]
			}
			slow = append(slow, Open{policyOf(hosts...), Change{ID: fmt.Sprint(i)}})
		}
		quick := Open{policyOf("quick"), Change{ID: "quick"}}
		set(append(slow, quick)...)
		time.Sleep(Every + 5*timeout)
		synctest.Wait()
		said := w.take()
		for _, id := range []string{"0", "1", "2", "3", "quick"} {
			if !strings.Contains(said, id+" 0:") {
				t.Errorf("nothing told of %s: %q", id, said)
			}
		}
		if most := j.most.Load(); most > atOnce {
			t.Errorf("%d asked at once", most)
		}
	})
}

// TestOneLook: a change whose judges take longer than the pause between two looks
// is not looked at twice.
func TestOneLook(t *testing.T) {
	run(t, func(set func(...Open), w *told, j *judges) {
		time.Sleep(Every / 2)
		set(Open{policyOf(slices.Repeat([]string{"slow"}, atOnce+1)...), Change{ID: "a"}})
		time.Sleep(Every + timeout) // the last judge is asked when the others have timed out
		synctest.Wait()
		if asked := j.all.Load(); asked != atOnce+1 {
			t.Errorf("%d judges were asked, want %d", asked, atOnce+1)
		}
	})
}

// TestTimedOut: a judge that does not answer is told as such.
func TestTimedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, host := range []string{"slow", "drip"} {
			said := New(&judges{}).Look(t.Context(), policyOf(host), change())
			check(t, said[0], rollout.Unable, host+": no answer within 5s")
		}
	})
}
