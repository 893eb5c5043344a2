package ask

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/rollout"
)

// judges answer depending on the requested host. Those named slow never answer, those named
// drip send a byte a second.
type judges struct {
	now, most atomic.Int32 // concurrent requests
	all       atomic.Int32 // requests so far
}

func (j *judges) RoundTrip(req *http.Request) (*http.Response, error) {
	j.begin()
	var body io.Reader = strings.NewReader(`{"verdict":"good","reason":"` + req.Host + `"}`)
	switch {
	case strings.HasPrefix(req.Host, "slow"):
		<-req.Context().Done()
		j.now.Add(-1)
		return nil, req.Context().Err()
	case strings.HasPrefix(req.Host, "drip"):
		body = drip{req.Context()}
	case strings.HasPrefix(req.Host, "away"):
		j.now.Add(-1)
		return nil, errors.New("no route to host")
	}
	return &http.Response{StatusCode: 200, Body: answering{body, j}, Request: req}, nil
}

func (j *judges) begin() {
	j.all.Add(1)
	now := j.now.Add(1)
	for most := j.most.Load(); now > most && !j.most.CompareAndSwap(most, now); most = j.most.Load() {
	}
}

// answering is the body of an answer: its request lasts until all of it is read.
type answering struct {
	io.Reader
	j *judges
}

func (a answering) Close() error {
	a.j.now.Add(-1)
	return nil
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

// all asks a webhook at each host concurrently, and returns what they say.
func all(ctx context.Context, j *judges, hosts ...string) []told {
	a := New(j)
	said := make([]told, len(hosts))
	var under sync.WaitGroup
	for i, h := range hosts {
		under.Go(func() { said[i] = askBy(ctx, a, webhookAt("http://"+h+"/")) })
	}
	under.Wait()
	return said
}

// TestSlowJudges checks that, however many judges don't answer, no more than the limit are
// asked at once, and that each in its turn gets an answer or a timeout.
func TestSlowJudges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := &judges{}
		hosts := slices.Concat(slices.Repeat([]string{"slow", "drip"}, 2*atOnce), []string{"quick", "away"})
		began := time.Now()
		for i, said := range all(t.Context(), j, hosts...) {
			switch hosts[i] {
			case "quick":
				check(t, said, rollout.Good, "quick")
			case "away":
				check(t, said, rollout.Unable, "no route to host")
			default:
				check(t, said, rollout.Unable, hosts[i]+": no answer within 5s")
			}
		}
		if took := time.Since(began); took < 4*timeout || took > 5*timeout {
			t.Errorf("took %v", took)
		}
		if most := j.most.Load(); most != atOnce {
			t.Errorf("%d asked at once, want %d", most, atOnce)
		}
	})
}

// TestNotAsked checks that a judge isn't asked if its context ends before its turn.
func TestNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), timeout/2)
		defer cancel()
		j := &judges{}
		not := 0
		for _, said := range all(ctx, j, slices.Repeat([]string{"slow"}, 2*atOnce)...) {
			if strings.HasPrefix(said.words, "not asked: ") {
				not++
			}
			check(t, said, rollout.Unable, "")
		}
		if asked := j.all.Load(); asked != atOnce || not != atOnce {
			t.Errorf("%d were asked, %d not, want %d of each", asked, not, atOnce)
		}
	})
}
