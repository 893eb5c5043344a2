package pipeline

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"wasmxds/xds/swap"
)

// alarm is that a crashed VM has answered a request.
type alarm struct {
	Node   string `json:"node"`
	Filter string `json:"filter,omitempty"`
	Here   bool   `json:"here,omitempty"` // the Envoy is connected to the server that tells
}

// download is what a module server saw of one.
type download struct {
	Peer     netip.Addr    `json:"peer"`
	SHA256   string        `json:"sha256"`
	Size     int64         `json:"size,omitempty"`
	Progress swap.Progress `json:"progress"`
}

// happened is what a server tells others at once of what it has seen of Envoys that may
// be connected to them.
type happened struct {
	Alarms    []alarm    `json:"alarms,omitempty"`
	Downloads []download `json:"downloads,omitempty"`
}

const (
	gather   = 50 * time.Millisecond // before it is told
	sendTime = 2 * time.Second       // that telling may take
	// What waits for one server, at most. What is more is dropped: a VM that stays
	// crashed is told of again, and a download that is not seen costs time.
	mostAlarms    = 1000
	mostDownloads = 4000
	// A VM may have been replaced meanwhile.
	alarmStale = 2 * time.Second
)

// others tells the other servers of this one's state what happens here. Each is told in
// order, one thing after the other, and none waits for another.
type others struct {
	living func() []string // servers that live, without this one
	send   func(ctx context.Context, server string, h happened) error
	some   chan struct{} // holds a token while there may be something to tell

	mu    sync.Mutex
	boxes map[string]*box // of those that live
	// Downloads of which others were told that they began: they are told of the end,
	// whoever waits here by then.
	open map[fetch]int
}

// fetch is whose download it is, and of what.
type fetch struct {
	peer   netip.Addr
	sha256 string
}

// box is what waits for a server.
type box struct {
	alarms    []alarm
	since     map[alarm]time.Time // when each came
	downloads []download
	under     bool // something is being told
}

func newOthers(living func() []string, send func(context.Context, string, happened) error) *others {
	return &others{living: living, send: send, some: make(chan struct{}, 1), boxes: map[string]*box{}, open: map[fetch]int{}}
}

// crashed tells of an alarm. It never waits.
func (o *others) crashed(now time.Time, a alarm) {
	o.look() // it may be told but once: also one that has just begun is to hear of it
	o.each(func(b *box) {
		if _, waits := b.since[a]; waits {
			return
		}
		if len(b.alarms) == mostAlarms { // the oldest is worth least
			delete(b.since, b.alarms[0])
			b.alarms = slices.Delete(b.alarms, 0, 1)
		}
		b.alarms, b.since[a] = append(b.alarms, a), now
	})
}

// downloaded tells of a download, unless it is of an Envoy that is connected here. It
// never waits.
func (o *others) downloaded(d download, ours bool) {
	which := fetch{d.Peer, d.SHA256}
	o.mu.Lock()
	began := o.open[which]
	switch {
	case d.Progress != swap.DownloadStarted && began > 1:
		o.open[which]--
	case d.Progress != swap.DownloadStarted:
		delete(o.open, which)
	case !ours && len(o.boxes) > 0:
		o.open[which]++
	}
	o.mu.Unlock()
	if ours && (began == 0 || d.Progress == swap.DownloadStarted) {
		return
	}
	o.each(func(b *box) {
		if len(b.downloads) < mostDownloads {
			b.downloads = append(b.downloads, d)
		}
	})
}

func (o *others) each(add func(*box)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, b := range o.boxes {
		add(b)
	}
	if len(o.boxes) > 0 {
		o.poke()
	}
}

func (o *others) poke() {
	select {
	case o.some <- struct{}{}:
	default:
	}
}

// run tells until ctx ends.
func (o *others) run(ctx context.Context) {
	var under sync.WaitGroup
	defer under.Wait()
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for o.look(); ; {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
			o.look()
			continue
		case <-o.some:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		for server, h := range o.take(time.Now()) {
			under.Go(func() {
				short, cancel := context.WithTimeout(ctx, sendTime)
				defer cancel()
				_ = o.send(short, server, h) // they are hints
				o.sent(server)
			})
		}
	}
}

// look sees who lives.
func (o *others) look() {
	living := o.living()
	o.mu.Lock()
	defer o.mu.Unlock()
	for id := range o.boxes {
		if !slices.Contains(living, id) {
			delete(o.boxes, id)
		}
	}
	for _, id := range living {
		if o.boxes[id] == nil {
			o.boxes[id] = &box{since: map[alarm]time.Time{}}
		}
	}
}

// take gives what each server is to be told now.
func (o *others) take(now time.Time) map[string]happened {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := map[string]happened{}
	for id, b := range o.boxes {
		if b.under {
			continue
		}
		h := happened{Downloads: b.downloads, Alarms: slices.DeleteFunc(b.alarms, func(a alarm) bool { return now.Sub(b.since[a]) >= alarmStale })}
		b.alarms, b.downloads = nil, nil
		clear(b.since)
		if len(h.Alarms)+len(h.Downloads) > 0 {
			all[id], b.under = h, true
		}
	}
	return all
}

// sent notes that a server was told, or was not to be reached.
func (o *others) sent(server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.boxes[server]; b != nil {
		if b.under = false; len(b.alarms)+len(b.downloads) > 0 {
			o.poke()
		}
	}
}
