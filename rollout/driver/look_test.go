package driver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/driver"
	"wasmxds/state/statetest"
)

// judges return the answers that a test sets.
type judges struct {
	t  *testing.T
	mu sync.Mutex
	// say has the verdict of each; a judge without one doesn't answer until release.
	say      map[string]rollout.Verdict
	release  chan struct{}
	stubborn bool // it ignores the end of its context

	asked  []string // "judge wave", in order
	now    map[string]int
	letOff int
}

func newJudges(t *testing.T) *judges {
	return &judges{t: t, say: map[string]rollout.Verdict{}, release: make(chan struct{}), now: map[string]int{}}
}

func (j *judges) look(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
	j.mu.Lock()
	j.asked = append(j.asked, fmt.Sprint(l.Judge, " ", l.Wave))
	if j.now[l.Judge]++; j.now[l.Judge] > 1 {
		j.t.Errorf("%s is asked twice at once", l.Judge)
	}
	verdict, release := j.say[l.Judge], j.release
	j.mu.Unlock()
	defer func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.now[l.Judge]--
	}()
	if verdict != "" {
		return verdict, "all is " + string(verdict)
	}
	if j.stubborn {
		<-release
		<-ctx.Done() // its call was canceled
		return rollout.Bad, "orders are fewer"
	}
	select {
	case <-release:
		return rollout.Bad, "orders are fewer"
	case <-ctx.Done():
		j.mu.Lock()
		defer j.mu.Unlock()
		j.letOff++
		return rollout.Bad, "too late"
	}
}

func (j *judges) says(judge string, v rollout.Verdict) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.say[judge] = v
}

// times returns how often a judge was asked, about a wave if it is named.
func (j *judges) times(judge string) int {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	n := 0
	for _, a := range j.asked {
		if strings.HasPrefix(a, judge) {
			n++
		}
	}
	return n
}

func (j *judges) wants(judge string, want int) {
	j.t.Helper()
	if n := j.times(judge); n != want {
		j.t.Errorf("%s was asked %d times, want %d", judge, n, want)
	}
}

// judged begins a change that Prometheus, a webhook and signals judge, in its first wave.
func judged(t *testing.T, j *judges) *server {
	t.Helper()
	p := careful()
	p.Ask = []definition.Judge{{Prometheus: &definition.PrometheusJudge{URL: "http://prometheus"}}, {Webhook: &definition.WebhookJudge{URL: "http://hook"}}}
	s := serve(t, statetest.NewMemory(), driver.Options{Options: rollout.Options{Signals: true}, Look: j.look})
	s.connect()
	s.Tell(wanted("v1", p))
	s.settle()
	s.Tell(wanted("v2", p))
	s.settle()
	return s
}

// TestJudges checks that judges are asked while a wave needs their verdicts, and no longer.
func TestJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		j.says("signals", rollout.Good)
		j.says("prometheus 1", rollout.NoTraffic)
		j.says("webhook 2", rollout.Good)
		s := judged(t, j)
		defer s.end()
		time.Sleep(5*time.Minute - time.Second)
		s.has("e9")
		j.wants("signals 1", 150)
		j.wants("prometheus 1 1", 60)
		j.wants("webhook 2 1", 60)
		j.says("prometheus 1", rollout.Bad)
		time.Sleep(5 * time.Second)
		s.has()
		if !s.said("all is bad") {
			t.Errorf("told %q", s.told)
		}
		before := j.times("")
		time.Sleep(time.Hour)
		j.wants("", before)
	})
}

// TestSlowJudge checks that a slow judge doesn't delay the others.
func TestSlowJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		j.says("signals", rollout.Good)
		j.says("prometheus 1", rollout.Good)
		s := judged(t, j)
		defer s.end()
		time.Sleep(5*time.Minute - time.Second)
		s.has("e9") // not all judges have approved it
		j.wants("signals", 150)
		j.wants("prometheus 1", 60)
		j.wants("webhook 2", 1)
		j.says("webhook 2", rollout.NoTraffic)
		close(j.release)
		s.has()
		if !s.said("orders are fewer") {
			t.Errorf("told %q", s.told)
		}
	})
}

// TestSlowAnswers checks that a judge that needs longer than the pause is asked again as
// soon as it has answered.
func TestSlowAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		slow := func(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
			time.Sleep(7 * time.Second)
			return j.look(ctx, l)
		}
		j.says("webhook 1", rollout.NoTraffic)
		p := careful()
		p.Ask = []definition.Judge{{Webhook: &definition.WebhookJudge{URL: "http://hook"}}}
		s := serve(t, statetest.NewMemory(), driver.Options{Look: slow})
		defer s.end()
		s.connect()
		s.Tell(wanted("v1", p))
		s.settle()
		s.Tell(wanted("v2", p))
		s.settle()
		time.Sleep(70 * time.Second)
		j.wants("webhook 1 1", 10)
	})
}

// TestJudgeOfTheWaveBefore checks that a verdict on an earlier wave is ignored, and that
// the judge is asked about the new one immediately.
func TestJudgeOfTheWaveBefore(t *testing.T) {
	for _, stubborn := range []bool{false, true} {
		t.Run(fmt.Sprint("stubborn=", stubborn), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				j := newJudges(t)
				j.stubborn = stubborn
				for _, judge := range []string{"signals", "prometheus 1", "webhook 2"} {
					j.says(judge, rollout.Good)
				}
				s := judged(t, j)
				defer s.end()
				time.Sleep(time.Second)
				j.says("webhook 2", "") // from the second time on
				time.Sleep(time.Minute)
				s.settle()
				s.has("e0", "e1", "e4", "e5", "e9")
				j.wants("signals 2", 1)
				if stubborn {
					j.wants("webhook 2 1", 2)
					j.wants("webhook 2 2", 0)
					j.says("webhook 2", rollout.Good)
					close(j.release)
				}
				j.wants("webhook 2 2", 1)
				s.has("e0", "e1", "e4", "e5", "e9")
				if s.said("orders are fewer") || s.said("too late") {
					t.Errorf("told %q", s.told)
				}
			})
		})
	}
}

// TestPausedJudges checks that calls to judges are canceled while a change is paused, and
// begin anew when it is resumed.
func TestPausedJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		j.says("signals", rollout.Good)
		j.says("prometheus 1", rollout.Good)
		s := judged(t, j)
		defer s.end()
		if err := s.Do(t.Context(), rollout.Command{Verb: rollout.Pause}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if j.letOff != 1 {
			t.Errorf("%d judges were let off, want the one that thinks", j.letOff)
		}
		before := j.times("")
		time.Sleep(time.Hour)
		j.wants("", before)
		if err := s.Do(t.Context(), rollout.Command{Verb: rollout.Resume}); err != nil {
			t.Fatal(err)
		}
		j.wants("", before+3)
		s.has("e9")
	})
}

// TestJudgeOfTheSameWaveBefore checks the same for a wave that begins again, with other
// Envoys.
func TestJudgeOfTheSameWaveBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		j.says("signals", rollout.Good)
		j.says("prometheus 1", rollout.Good)
		s := judged(t, j)
		defer s.end()
		j.wants("webhook 2 1", 1)
		j.says("webhook 2", rollout.NoTraffic) // from the second time on
		s.Tell(rollout.Gone{ID: "e9"})
		time.Sleep(2*time.Minute + time.Second)
		s.has("e5", "e9")
		j.wants("webhook 2 1", 2)
		close(j.release)
		s.has("e5", "e9")
		if s.said("orders are fewer") || s.said("too late") {
			t.Errorf("told %q", s.told)
		}
	})
}

// TestJudgesEnd checks that Run cancels calls to judges at its end, and waits for them.
func TestJudgesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		s := judged(t, j)
		synctest.Wait()
		s.end()
		if j.letOff != 3 || slices.ContainsFunc(s.told, func(w string) bool { return strings.Contains(w, "too late") }) {
			t.Errorf("%d judges were let off, told %q", j.letOff, s.told)
		}
	})
}

// TestManyChanges checks that the judges of each change are asked separately.
func TestManyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := map[string]int{}
		s := serve(t, statetest.NewMemory(), driver.Options{Look: func(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
			mu.Lock()
			asked[l.Title]++
			mu.Unlock()
			if l.Title == "f0" {
				<-ctx.Done()
			}
			return rollout.NoTraffic, ""
		}})
		defer s.end()
		s.connect()
		p := careful()
		p.Ask = []definition.Judge{{Webhook: &definition.WebhookJudge{URL: "http://hook"}}}
		const changes = 40
		roots := map[string]string{}
		for i := range changes {
			roots[fmt.Sprint("f", i)] = "v1"
		}
		s.Tell(wantedOf(roots, p))
		s.settle()
		for i := range changes {
			roots[fmt.Sprint("f", i)] = "v2"
			s.Tell(wantedOf(roots, p))
		}
		s.settle()
		time.Sleep(time.Minute - time.Second)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		for i := range changes {
			want := 12
			if i == 0 {
				want = 1
			}
			if n := asked[fmt.Sprint("f", i)]; n != want {
				t.Errorf("of f%d a judge was asked %d times, want %d", i, n, want)
			}
		}
	})
}
