package pipeline

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"wasmxds/replica"
	"wasmxds/xds/swap"
)

// alarm means that a crashed VM has answered a request.
type alarm struct {
	Node   string `json:"node"`
	Filter string `json:"filter,omitempty"`
	Here   bool   `json:"here,omitempty"` // the Envoy is connected to the sending server
}

// download is an event of a download from a module server.
type download struct {
	Peer     netip.Addr    `json:"peer"`
	SHA256   string        `json:"sha256"`
	Size     int64         `json:"size,omitempty"`
	Progress swap.Progress `json:"progress"`
}

// happened has events of Envoys that may be connected to other servers. They
// are sent to those immediately.
type happened struct {
	Alarms    []alarm    `json:"alarms,omitempty"`
	Downloads []download `json:"downloads,omitempty"`
}

const (
	gather   = 50 * time.Millisecond // delay to collect events before sending
	sendTime = 2 * time.Second       // timeout of sending
	// Maximum number of events that wait for one server. Others are dropped:
	// alarms of a VM that stays crashed are repeated, and a lost download only
	// costs time.
	mostAlarms    = 1000
	mostDownloads = 4000
	// After this time, the VM may have been replaced.
	alarmStale = 2 * time.Second
)

// others sends events on this server to the other servers of its state. Each
// gets them in order, in one request at a time, and none waits for another.
type others struct {
	living func() []string // other servers that are alive
	send   func(ctx context.Context, server string, h happened) error
	record func(ctx context.Context, a recordAsk) []replica.Answer[recordAnswer] // asks all others
	some   chan struct{}                                                         // holds a token while there may be something to send

	mu    sync.Mutex
	boxes map[string]*box // of the servers that are alive
	// Downloads whose start was sent to others. The end is sent as well, even
	// if an Envoy here waits for it by then.
	open map[fetch]int
}

// fetch identifies a download.
type fetch struct {
	peer   netip.Addr
	sha256 string
}

// box has the events that wait for a server.
type box struct {
	alarms    []alarm
	since     map[alarm]time.Time // time of each alarm
	downloads []download
	under     bool // a request is in progress
}

func newOthers(living func() []string, send func(context.Context, string, happened) error) *others {
	return &others{living: living, send: send, some: make(chan struct{}, 1), boxes: map[string]*box{}, open: map[fetch]int{}}
}

// crashed sends an alarm. It never blocks.
func (o *others) crashed(now time.Time, a alarm) {
	o.look() // an alarm may not be repeated, so include servers that have just started
	o.each(func(b *box) {
		if _, waits := b.since[a]; waits {
			return
		}
		if len(b.alarms) == mostAlarms { // the oldest is the least useful
			delete(b.since, b.alarms[0])
			b.alarms = slices.Delete(b.alarms, 0, 1)
		}
		b.alarms, b.since[a] = append(b.alarms, a), now
	})
}

// downloaded sends an event of a download, unless it is of an Envoy that is
// connected here. It never blocks.
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

// run sends events until ctx ends.
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
				_ = o.send(short, server, h) // events are only hints
				o.sent(server)
			})
		}
	}
}

// look updates the servers that are alive.
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

// take returns the events to send to each server now.
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

// sent records that a request to a server has ended, successfully or not.
func (o *others) sent(server string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b := o.boxes[server]; b != nil {
		if b.under = false; len(b.alarms)+len(b.downloads) > 0 {
			o.poke()
		}
	}
}
