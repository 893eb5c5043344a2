package pipeline

import (
	"context"
	"time"

	"wasmxds/module"
	"wasmxds/rollout"
	"wasmxds/rollout/ask"
)

// judges queries the judges that policies define.
type judges struct {
	*ask.Asker
	end func() // closes idle connections
}

// newJudges returns judges that may connect to the same addresses as modules
// may come from, also through a proxy. The policy's restrictions on hosts and
// schemes don't apply to judges.
func newJudges(modules module.Policy) judges {
	at := module.Policy{LinkLocal: modules.LinkLocal, RootCAs: modules.RootCAs}
	transport := at.Transport()
	return judges{ask.New(at.CheckRequest(transport)), transport.CloseIdleConnections}
}

// look asks a judge about a change.
func (p *Pipeline) look(ctx context.Context, l rollout.Look) (rollout.Verdict, string) {
	if l.Judge == rollout.SignalsJudge {
		return p.judge.Look(time.Now(), l)
	}
	return p.judges.Ask(ctx, l)
}
