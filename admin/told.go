package admin

import (
	"context"
	"fmt"
	"slices"

	"wasmxds/rollout"
	"wasmxds/xds/swap"
)

// Changes returns the status of all changes.
func (s *Server) Changes(ctx context.Context) (rollout.Status, error) { return s.moving(ctx) }

// Told returns the status without nodes, and for each filter that failed on
// some Envoy the message of one such Envoy.
func (s *Server) Told(ctx context.Context) (Status, map[string]string, error) {
	st := s.status()
	var err error
	if st.Rollouts, st.RolledBack, err = s.unfinished(ctx); err != nil {
		return Status{}, nil, err
	}
	if !slices.ContainsFunc(st.Filters, func(f Filter) bool { return f.Failed > 0 }) {
		return st, nil, nil
	}
	worst := map[string]string{}
	for _, t := range s.overview().Troubles { // the worst first
		if t.Filter != "" && t.State == swap.Failed && worst[t.Filter] == "" {
			worst[t.Filter] = fmt.Sprintf("%s: %s", t.reason().Node, t.reason().Whole)
		}
	}
	return st, worst, nil
}
