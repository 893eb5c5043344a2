package pipeline

import (
	"context"
	"time"

	"wasmxds/definition"
	"wasmxds/rollout"
	"wasmxds/signal"
	"wasmxds/xds"
)

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
		Watched: func(node string) bool { return p.XDS.Sampling(node) > 0 },
		Sampled: func(string, time.Time, []signal.Sample) {},
		Crashed: func(c signal.Crash) {
			p.rollouts.Tell(rollout.Crashed{ID: c.Node, Filter: c.Filter})
			p.options.Log.Warn("a request was answered by a crashed VM", "node", c.Node, "listener", c.Listener, "filter", c.Filter, "details", c.Details)
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
