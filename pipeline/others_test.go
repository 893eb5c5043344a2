package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wasmxds/xds/swap"
)

// audience records what other servers received, by server.
type audience struct {
	mu    sync.Mutex
	all   map[string][]happened
	hangs map[string]bool // servers that do not respond
}

func (g *audience) send(ctx context.Context, server string, h happened) error {
	g.mu.Lock()
	hangs := g.hangs[server]
	if !hangs {
		g.all[server] = append(g.all[server], h)
	}
	g.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return errors.New("no answer")
	}
	return nil
}

func (g *audience) take() map[string][]happened {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := maps.Clone(g.all)
	clear(g.all)
	return all
}

// telling runs others while do runs.
func telling(t *testing.T, do func(o *others, g *audience, living *atomic.Pointer[[]string])) {
	synctest.Test(t, func(t *testing.T) {
		living := atomic.Pointer[[]string]{}
		living.Store(&[]string{"B", "C"})
		g := &audience{all: map[string][]happened{}, hangs: map[string]bool{}}
		o := newOthers(func() []string { return *living.Load() }, g.send)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); o.run(ctx) }()
		synctest.Wait()
		do(o, g, &living)
		cancel()
		<-done
	})
}

var (
	peerA = netip.MustParseAddr("10.0.0.1")
	began = download{Peer: peerA, SHA256: "aa", Progress: swap.DownloadStarted}
	ended = download{Peer: peerA, SHA256: "aa", Size: 10, Progress: swap.DownloadDone}
)

// TestOthersTold checks that all live servers soon receive each event, once and
// in order.
func TestOthersTold(t *testing.T) {
	telling(t, func(o *others, g *audience, living *atomic.Pointer[[]string]) {
		for range 100 {
			o.crashed(time.Now(), alarm{Node: "e1", Filter: "hello"})
		}
		o.crashed(time.Now(), alarm{Node: "e2", Here: true})
		o.downloaded(began, false)
		o.downloaded(ended, false)
		time.Sleep(gather + time.Millisecond)
		want := happened{Alarms: []alarm{{Node: "e1", Filter: "hello"}, {Node: "e2", Here: true}}, Downloads: []download{began, ended}}
		if got := g.take(); !reflect.DeepEqual(got, map[string][]happened{"B": {want}, "C": {want}}) {
			t.Errorf("told %+v, want both %+v", got, want)
		}
		o.crashed(time.Now(), alarm{Node: "e1", Filter: "hello"}) // it keeps crashing
		time.Sleep(time.Second)
		if got := g.take(); len(got["B"]) != 1 || len(got["B"][0].Alarms) != 1 {
			t.Errorf("then %+v", got)
		}
		living.Store(&[]string{"C"})
		time.Sleep(2 * time.Second)
		o.downloaded(began, false)
		time.Sleep(time.Second)
		if got := g.take(); len(got["B"]) > 0 || len(got["C"]) != 1 {
			t.Errorf("B is not there any more: %+v", got)
		}
	})
}

// TestOwnDownloads checks that downloads of Envoys that are connected here are
// not sent, but that the end of a download is sent if its start was.
func TestOwnDownloads(t *testing.T) {
	telling(t, func(o *others, g *audience, _ *atomic.Pointer[[]string]) {
		o.downloaded(began, true)
		o.downloaded(ended, true)
		time.Sleep(time.Second)
		if got := g.take(); len(got) > 0 {
			t.Errorf("others are told of own downloads: %+v", got)
		}
		o.downloaded(began, false)
		o.downloaded(began, true)
		o.downloaded(ended, true)
		o.downloaded(ended, true)
		time.Sleep(time.Second)
		if got := g.take()["B"]; len(got) != 1 || !reflect.DeepEqual(got[0].Downloads, []download{began, ended}) {
			t.Errorf("told %+v", got)
		}
		if len(o.open) > 0 {
			t.Errorf("%v are still open", o.open)
		}
	})
}

// TestOthersSlow checks that a server that does not respond delays no others,
// that the events that wait for it are bounded, and that outdated alarms are
// dropped.
func TestOthersSlow(t *testing.T) {
	telling(t, func(o *others, g *audience, _ *atomic.Pointer[[]string]) {
		g.hangs["B"] = true
		o.downloaded(began, false)
		time.Sleep(gather + time.Millisecond)
		o.crashed(time.Now(), alarm{Node: "old"})
		for i := range 3 * mostDownloads {
			o.crashed(time.Now(), alarm{Node: fmt.Sprint(i)})
			o.downloaded(began, false)
		}
		time.Sleep(gather + time.Millisecond)
		if got := g.take()["C"]; len(got) != 2 || len(got[1].Alarms) != mostAlarms || len(got[1].Downloads) != mostDownloads {
			t.Errorf("C was told %d times", len(got))
		}
		g.mu.Lock()
		g.hangs["B"] = false
		g.mu.Unlock()
		time.Sleep(alarmStale - sendTime/2)
		o.crashed(time.Now(), alarm{Node: "new"})
		time.Sleep(sendTime)
		got := g.take()["B"]
		if len(got) != 1 || len(got[0].Downloads) != mostDownloads || !reflect.DeepEqual(got[0].Alarms, []alarm{{Node: "new"}}) {
			t.Errorf("B was told %d times", len(got))
			for _, h := range got {
				t.Errorf("of %d alarms and %d downloads", len(h.Alarms), len(h.Downloads))
			}
		}
	})
}

// TestNoOthers checks that nothing is stored if there are no other servers.
func TestNoOthers(t *testing.T) {
	o := newOthers(func() []string { return nil }, nil)
	o.look()
	o.crashed(time.Now(), alarm{Node: "e"})
	o.downloaded(began, false)
	if len(o.boxes)+len(o.open)+len(o.some) > 0 {
		t.Errorf("%+v", o)
	}
}
