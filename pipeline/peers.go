package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"wasmxds/replica"
	"wasmxds/signal/relay"
	"wasmxds/xds/swap"
)

// Paths of requests between servers about Envoys.
const (
	askPath      = "/peer/v1/signals"
	happenedPath = "/peer/v1/happened"
)

type nothing struct{}

// meet exchanges reports of Envoys with other servers.
func (p *Pipeline) meet(peers *replica.Peers) {
	registry := peers.Registry
	living := func() []string { return slices.Collect(maps.Keys(registry.Living())) }
	p.hearing = &hearing{
		leader: p.heard, follower: p.follower, rates: p.sampler.current, living: living,
		term: func() uint64 {
			if leader, term := registry.Leader(); leader.ID == registry.ID() {
				return term
			}
			return 0
		},
		ask: func(ctx context.Context, server string, a relay.Ask) (relay.Answer, error) {
			return callTo[relay.Ask, relay.Answer](ctx, peers, server, askPath, a)
		},
		under: map[string]bool{},
	}
	p.others = newOthers(living, func(ctx context.Context, server string, h happened) error {
		_, err := callTo[happened, nothing](ctx, peers, server, happenedPath, h)
		return err
	})
	replica.On(peers, askPath, func(_ context.Context, _ replica.Member, a relay.Ask) (relay.Answer, error) {
		return p.follower.Asked(time.Now(), a)
	})
	replica.On(peers, happenedPath, func(_ context.Context, _ replica.Member, h happened) (nothing, error) {
		return nothing{}, p.hear(h)
	})
}

// callTo sends a request to another server that is alive.
func callTo[Q, A any](ctx context.Context, peers *replica.Peers, server, path string, q Q) (a A, err error) {
	to, is := peers.Registry.Living()[server]
	if !is {
		return a, fmt.Errorf("replica %s is gone", server)
	}
	return replica.Call[Q, A](ctx, peers, to, path, q)
}

var errTooMuch = errors.New("it reports too much at once")

// hear handles events from another server.
func (p *Pipeline) hear(h happened) error {
	if len(h.Alarms) > mostAlarms || len(h.Downloads) > mostDownloads {
		return errTooMuch
	}
	for _, d := range h.Downloads {
		if d.Peer.IsValid() && d.Progress <= swap.DownloadAborted {
			p.XDS.Downloaded(d.Peer, swap.Download{SHA256: d.SHA256, Progress: d.Progress, Size: d.Size})
		}
	}
	for _, a := range h.Alarms {
		if !p.XDS.Crashed(a.Node, a.Filter) && !a.Here {
			p.XDS.CrashedAway(a.Node, a.Filter)
		}
	}
	return nil
}

// crashed handles a response of a crashed VM.
func (p *Pipeline) crashed(node, filter string) {
	here := p.XDS.Crashed(node, filter)
	if !here {
		p.XDS.CrashedAway(node, filter)
	}
	if p.others != nil {
		p.others.crashed(time.Now(), alarm{Node: node, Filter: filter, Here: here})
	}
}

// downloaded handles an event of a download from the module server.
func (p *Pipeline) downloaded(d download) {
	ours := p.XDS.Downloaded(d.Peer, swap.Download{SHA256: d.SHA256, Progress: d.Progress, Size: d.Size})
	if p.others != nil {
		p.others.downloaded(d, ours)
	}
}
