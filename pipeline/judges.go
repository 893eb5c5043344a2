package pipeline

import (
	"context"
	"time"

	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/ask"
)

// judges ask the judges of one's own.
type judges struct {
	*ask.Asker
	end func() // closes connections that are not in use
}

// newJudges makes what asks them at the addresses that modules may come from, be it
// through a proxy. Which hosts and schemes those may have says nothing of judges.
func newJudges(modules module.Policy) judges {
	at := module.Policy{LinkLocal: modules.LinkLocal, RootCAs: modules.RootCAs}
	transport := at.Transport()
	return judges{ask.New(at.CheckRequest(transport)), transport.CloseIdleConnections}
}

// look asks a judge of a change.
func (p *Pipeline) look(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
	if l.Judge == rollout.SignalsJudge {
		return p.judge.Look(time.Now(), l)
	}
	return p.judges.Ask(ctx, l)
}
