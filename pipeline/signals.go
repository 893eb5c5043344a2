package pipeline

import (
	"context"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/rollout/judge"
	"wasmxds/signal"
	"wasmxds/signal/relay"
	"wasmxds/xds"
)

// watch has Envoys looked at, or no more.
func (p *Pipeline) watch(w rollout.Watch) (told []byte) {
	defer p.sampler.poke()
	return p.judge.Watch(time.Now(), w)
}

// hears makes what judges Envoys by what they tell, and has them tell it.
func (p *Pipeline) hears() {
	p.heard = relay.NewLeader(signal.NewCounts(), func(node string, samples int) { p.sampler.sampled(node, samples) })
	p.follower = relay.NewFollower(p.sample)
	p.judge = judge.New(judge.Options{Counts: p.heard})
	p.sampler = newSampler(p.judge.Watched, func(node string, perMillion uint32) uint32 { return p.XDS.Sample(node, perMillion) })
}

// receiving is how the access logs of Envoys are taken.
func (p *Pipeline) receiving() signal.Options {
	allow := p.options.AllowLogs
	return signal.Options{
		May: func(ctx context.Context, node, cluster string) error {
			if allow == nil {
				return nil
			}
			return allow(ctx, definition.Node{ID: node, Cluster: cluster})
		},
		Watched: func(node string) bool { return p.sampler.sampling(node) || p.follower.Watches(node) },
		Sampled: func(node string, at time.Time, samples []signal.Sample) {
			p.sampler.sampled(node, len(samples))
			p.heard.Add(node, at, samples)
			p.follower.Add(node, at, samples)
		},
		Crashed: func(c signal.Crash) {
			p.options.Log.Debug("a request was answered by a crashed VM", "node", c.Node, "listener", c.Listener, "filter", c.Filter, "details", c.Details)
			p.crashed(c.Node, c.Filter)
		},
	}
}

// logs begins a stream of access logs.
func (p *Pipeline) logs(ctx context.Context, first []byte) (xds.LogStream, error) {
	st, err := p.signals.Begin(ctx, first)
	if err != nil {
		return nil, err
	}
	return st, nil
}

// sample has an Envoy tell of so many of a million requests as who leads says, if it is
// not told so by now: it is said again and again. Where this server leads by now, and
// looks at the Envoy itself, it is not let off.
func (p *Pipeline) sample(node string, perMillion uint32) {
	if perMillion == 0 && p.sampler.sampling(node) {
		return
	}
	if p.XDS.Sampling(node) != perMillion {
		p.XDS.Sample(node, perMillion)
	}
}
