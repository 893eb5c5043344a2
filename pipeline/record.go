package pipeline

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"

	"wasmxds/admin"
	"wasmxds/replica"
	"wasmxds/signal/recording"
)

// recordPath is where servers ask each other to record requests: the access logs of an
// Envoy may go to any of them.
const recordPath = "/peer/v1/record"

// flushed is how long it takes at most until what Envoys have logged is here.
const flushed = time.Second

// recordAsk has a recording begun or ended.
type recordAsk struct {
	recording.Order
	End    bool `json:"end,omitempty"`
	Counts bool `json:"counts,omitempty"` // how many there are by now
}

type recordAnswer struct {
	Requests []recording.Request `json:"requests,omitempty"`
	Taken    int                 `json:"taken,omitempty"`
	Unable   bool                `json:"unable,omitempty"` // the Envoy is connected here, and can't be told to report requests
}

// recordings ends recordings that others began and do not end.
type recordings struct {
	mu     sync.Mutex
	timers map[string]*time.Timer // by node
}

// recordsFor has this server record for others, and others for it.
func (p *Pipeline) recordsFor(peers *replica.Peers) {
	p.others.record = func(ctx context.Context, a recordAsk) []replica.Answer[recordAnswer] {
		return replica.CallAll[recordAsk, recordAnswer](ctx, peers, recordPath, a)
	}
	replica.On(peers, recordPath, func(_ context.Context, _ replica.Member, a recordAsk) (recordAnswer, error) {
		switch {
		case a.End:
			return recordAnswer{Requests: p.endHere(a.Order)}, nil
		case a.Counts:
			return recordAnswer{Taken: p.recorder.Taken(a.Node, a.ID)}, nil
		case p.XDS.CannotSample(a.Node):
			return recordAnswer{Unable: true}, nil
		}
		a.Until = time.Now().Add(min(a.Until.Sub(a.Since), recording.MaxTime)) // clocks differ
		a.Since = time.Now()
		_, err := p.beginHere(a.Order)
		return recordAnswer{}, err
	})
}

// beginHere has this server record. It ends by itself, a little later than it should.
func (p *Pipeline) beginHere(o recording.Order) (full <-chan struct{}, err error) {
	if full, err = p.recorder.Begin(o); err != nil {
		return nil, err
	}
	p.rates.record(o.Node, true)
	p.recorded.mu.Lock()
	defer p.recorded.mu.Unlock()
	if p.recorded.timers == nil {
		p.recorded.timers = map[string]*time.Timer{}
	}
	p.recorded.timers[o.ID] = time.AfterFunc(time.Until(o.Until)+10*flushed, func() { p.endHere(o) })
	return full, nil
}

// stop ends all of them for good.
func (r *recordings) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.timers {
		t.Stop()
	}
}

func (p *Pipeline) endHere(o recording.Order) []recording.Request {
	p.recorded.mu.Lock()
	timer := p.recorded.timers[o.ID]
	delete(p.recorded.timers, o.ID)
	p.recorded.mu.Unlock()
	if timer == nil {
		return nil // it has ended
	}
	timer.Stop()
	requests := p.recorder.End(o.Node, o.ID)
	p.rates.record(o.Node, false)
	return requests
}

// Recordings are those that this server makes.
func (p *Pipeline) Recordings() []recording.State { return p.recorder.States() }

// Record records requests of an Envoy until the order's time is over, there are enough, or
// ctx ends.
func (p *Pipeline) Record(ctx context.Context, o recording.Order) ([]recording.Request, error) {
	logged := p.options.Resources.Recordable()
	if missing := o.Missing(logged); len(missing) > 0 {
		return nil, &admin.Unrecorded{Text: "listeners do not log the headers " + strings.Join(missing, ", ") +
			": start xds-server with --record-headers " + strings.Join(slices.Concat(logged, missing), ",") +
			", which replaces listeners once, and drains their connections"}
	}
	if err := p.connected(o.Node); err != nil {
		return nil, err
	}
	if p.XDS.CannotSample(o.Node) {
		return nil, unable(o.Node)
	}
	o.ID = rand.Text()
	full, err := p.beginHere(o)
	if err != nil {
		return nil, err
	}
	p.options.Log.Info("recording requests", "node", o.Node, "by", o.By, "until", o.Until, "count", o.Count, "headers", o.Headers)
	others := p.others != nil
	isUnable := false
	if others {
		answers := p.others.record(ctx, recordAsk{Order: o})
		p.missedBy(answers, o)
		isUnable = slices.ContainsFunc(answers, func(a replica.Answer[recordAnswer]) bool { return a.Err == nil && a.Is.Unable })
	}
	if !isUnable {
		p.untilFull(ctx, o, full)
	}
	requests := p.endHere(o)
	if others {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		answers := p.others.record(ending, recordAsk{Order: o, End: true})
		for _, a := range answers {
			requests = append(requests, a.Is.Requests...)
		}
		p.missedBy(answers, o)
	}
	if isUnable {
		return nil, unable(o.Node)
	}
	slices.SortStableFunc(requests, func(a, b recording.Request) int { return a.At.Compare(b.At) })
	requests = requests[:min(len(requests), o.Count)]
	p.options.Log.Info("recorded requests", "node", o.Node, "by", o.By, "requests", len(requests))
	return requests, ctx.Err()
}

// untilFull waits until the order's time is over or there are enough requests, here and at
// other servers together.
func (p *Pipeline) untilFull(ctx context.Context, o recording.Order, full <-chan struct{}) {
	limit := time.NewTimer(time.Until(o.Until))
	defer limit.Stop()
	var count <-chan time.Time
	if p.others != nil {
		t := time.NewTicker(flushed)
		defer t.Stop()
		count = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-full:
			return
		case <-limit.C:
			wait(ctx, flushed)
			return
		case <-count:
			asking, cancel := context.WithTimeout(ctx, 10*flushed)
			told := 0
			for _, a := range p.others.record(asking, recordAsk{Order: o, Counts: true}) {
				told += a.Is.Taken
			}
			cancel()
			p.recorder.Elsewhere(o.Node, o.ID, told)
		}
	}
}

// unable says why an Envoy reports no requests, whatever it serves.
func unable(node string) error {
	return &admin.Unrecorded{Text: node + " can't be told to report requests: its bootstrap has no runtime layer for xds-server; " +
		"start it with one that xds-server bootstrap writes"}
}

// missedBy logs which servers did not record.
func (p *Pipeline) missedBy(answers []replica.Answer[recordAnswer], o recording.Order) {
	for _, a := range answers {
		if a.Err != nil {
			p.options.Log.Warn("another xds-server does not record: requests that the Envoy tells it of are missing", "node", o.Node, "server", a.Of.ID, "error", a.Err)
		}
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// connected says what is wrong where a node is not connected to any server.
func (p *Pipeline) connected(node string) error {
	switch n, known := p.fleet().Node(node); {
	case !known:
		return &admin.NoNode{Node: node}
	case !n.AwaySince.IsZero():
		return &admin.Unrecorded{Text: node + " is not connected"}
	}
	return nil
}

// fleet has the Envoys of all replicas.
func (p *Pipeline) fleet() admin.Fleet {
	if p.envoys != nil {
		return p.envoys
	}
	return p.XDS
}
