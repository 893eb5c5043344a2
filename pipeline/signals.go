package pipeline

import (
	"context"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal"
	"wasmxds/xds"
)

// watch has Envoys looked at, or no more.
func (p *Pipeline) watch(w rollout.Watch) (told []byte) {
	defer p.sampler.poke()
	return p.judge.Watch(time.Now(), w)
}

// newReceiver makes what takes the access logs of Envoys.
func (p *Pipeline) newReceiver() *signal.Receiver {
	allow := p.options.AllowLogs
	return signal.NewReceiver(signal.Options{
		May: func(ctx context.Context, node, cluster string) error {
			if allow == nil {
				return nil
			}
			return allow(ctx, definition.Node{ID: node, Cluster: cluster})
		},
		Watched: p.sampler.sampling,
		Sampled: func(node string, at time.Time, samples []signal.Sample) {
			p.sampler.sampled(node, len(samples))
			p.counts.Add(node, at, samples)
		},
		Crashed: func(c signal.Crash) {
			p.options.Log.Debug("a request was answered by a crashed VM", "node", c.Node, "listener", c.Listener, "filter", c.Filter, "details", c.Details)
			p.crashed(c.Node, c.Filter)
		},
	})
}

// logs begins a stream of access logs.
func (p *Pipeline) logs(ctx context.Context, first []byte) (xds.LogStream, error) {
	st, err := p.signals.Begin(ctx, first)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// crashed is told that a crashed VM of an Envoy has answered a request.
func (p *Pipeline) crashed(node, filter string) {
	here := p.XDS.Crashed(node, filter)
	if !here {
		p.XDS.CrashedAway(node, filter)
	}
	if p.others != nil {
		p.others.crashed(time.Now(), alarm{Node: node, Filter: filter, Here: here})
	}
}
