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

// judges answer what they are told to answer.
type judges struct {
	t  *testing.T
	mu sync.Mutex
	// say is what each says; one that says nothing is still thinking, until release.
	say      map[string]rollout.Verdict
	release  chan struct{}
	stubborn bool // it thinks on when its context ends

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
		<-ctx.Done() // it was let off
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

// times is how often a judge was asked, with its wave where it is named.
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

// judged begins a change that is judged by a Prometheus, a webhook and signals, in
// its first wave.
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

// TestJudges asks judges as long as a wave is to be judged, and no longer.
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

// TestSlowJudge: whom it takes long holds up nobody but itself.
func TestSlowJudge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJudges(t)
		j.says("signals", rollout.Good)
		j.says("prometheus 1", rollout.Good)
		s := judged(t, j)
		defer s.end()
		time.Sleep(5*time.Minute - time.Second)
		s.has("e9") // not all have found it good
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

// TestSlowAnswers: a judge that takes longer than the pause is asked again as soon
// as it has answered.
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

// TestJudgeOfTheWaveBefore: what a judge says of a wave that is over does not count,
// and it is asked of the new one at once.
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

// TestPausedJudges: while a change is paused its judges are let off, and when it
// goes on they are asked anew.
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

// TestJudgesEnd: judges are let off when Run is to end, and it waits for them.
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

// TestManyChanges: the judges of each change are asked by themselves.
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
