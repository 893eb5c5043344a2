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

// watch starts or stops watching Envoys.
func (p *Pipeline) watch(w rollout.Watch) (told []byte) {
	defer p.sampler.poke()
	return p.judge.Watch(time.Now(), w)
}

// hears creates the stages that collect and judge the reports of Envoys.
func (p *Pipeline) hears() {
	p.heard = relay.NewLeader(signal.NewCounts(), func(node string, samples int) { p.sampler.sampled(node, samples) })
	p.follower = relay.NewFollower(p.sample)
	p.judge = judge.New(judge.Options{Counts: p.heard})
	p.rates = newRates(func(node string, perMillion uint32) { p.XDS.Sample(node, perMillion) })
	p.sampler = newSampler(p.judge.Watched, p.rates.judge)
}

// receiving returns the options of the receiver of access logs.
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
			samples = p.rates.fair(node, samples)
			p.sampler.sampled(node, len(samples))
			p.heard.Add(node, at, samples)
			p.follower.Add(node, at, samples)
		},
		Records: p.recorder.Records, Recorded: p.recorder.Take,
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

// sample sets the rate of an Envoy that the leader requests, per million
// requests, unless it is set already: the leader repeats its requests. If this
// server has become the leader, and watches the Envoy itself, a rate of 0 is
// ignored.
func (p *Pipeline) sample(node string, perMillion uint32) {
	if perMillion == 0 && p.sampler.sampling(node) {
		return
	}
	if p.rates.judging(node) != perMillion {
		p.rates.judge(node, perMillion)
	}
}
