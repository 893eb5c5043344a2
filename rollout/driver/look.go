package driver

import (
	"context"
	"sync"
	"time"

	"wasmxds/rollout"
)

// The intervals between two requests to a judge. A policy's own judges are servers of
// others.
const (
	lookEvery = 2 * time.Second
	askEvery  = 5 * time.Second
)

func every(l rollout.Look) time.Duration {
	if l.Judge == rollout.SignalsJudge {
		return lookEvery
	}
	return askEvery
}

// judge identifies a judge of a change.
type judge struct{ change, name string }

// asked is a judge that was asked.
type asked struct {
	since  time.Time // of the Look
	at     time.Time
	cancel context.CancelFunc // nil: it has answered
	open   bool               // it must still be asked
}

// looks are the judges that were asked, for all changes that are being judged.
type looks struct {
	asked map[judge]*asked
	now   time.Time
	wake  time.Time // when the next one is due; zero: none is waiting for time to pass
}

// look asks judges while changes are being judged, each in its own goroutine, so that none
// waits for another. It returns when ctx and all requests have ended.
func (d *Driver) look(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	s := &looks{asked: map[judge]*asked{}}
	answered := make(chan judge)
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.judge:
		case <-timer.C:
		case j := <-answered:
			s.asked[j].cancel = nil
		}
		var due []rollout.Look
		if d.call(ctx, func() { due = s.of(d.m, time.Now()) }) != nil {
			return
		}
		for _, l := range due {
			j := judge{l.Change, l.Judge}
			one, cancel := context.WithCancel(ctx)
			s.asked[j] = &asked{since: l.Since, at: s.now, cancel: cancel}
			under.Go(func() {
				defer cancel()
				d.ask(one, l)
				select {
				case answered <- j:
				case <-ctx.Done():
				}
			})
		}
		if s.wake.IsZero() {
			timer.Stop()
		} else {
			timer.Reset(time.Until(s.wake))
		}
	}
}

// of returns the judges to ask now, and forgets those that no longer need to be asked.
// Their requests in progress are cancelled.
func (s *looks) of(m *rollout.Machine, now time.Time) []rollout.Look {
	s.now, s.wake = now, time.Time{}
	for _, a := range s.asked {
		a.open = false
	}
	due := m.Looks(s.due)
	for j, a := range s.asked {
		switch {
		case a.open:
		case a.cancel != nil:
			a.cancel()
		default:
			delete(s.asked, j)
		}
	}
	return due
}

// due reports whether a judge must be asked now. A judge that has not answered is not asked
// again. If another wave, or the same one again, has begun meanwhile, its request is cancelled first; what it
// answered about the earlier wave is no reason to wait.
func (s *looks) due(l rollout.Look) bool {
	a := s.asked[judge{l.Change, l.Judge}]
	if a == nil {
		return true
	}
	a.open = true
	if a.cancel != nil {
		if !a.since.Equal(l.Since) {
			a.cancel()
		}
		return false
	}
	again := a.at.Add(every(l))
	if !a.since.Equal(l.Since) || !s.now.Before(again) {
		return true
	}
	if s.wake.IsZero() || again.Before(s.wake) {
		s.wake = again
	}
	return false
}

// ask asks a judge, and passes its verdict to the machine.
func (d *Driver) ask(ctx context.Context, l rollout.Look) {
	verdict, words := d.o.Look(ctx, l)
	if verdict != "" && ctx.Err() == nil {
		d.Tell(l.Answer(verdict, words))
	}
}
